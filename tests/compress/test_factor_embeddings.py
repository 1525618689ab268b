"""Factors by hand, tokens by frequency, tied weights, and what comes after."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from burnish import models
from burnish.compress import factor_embeddings
from burnish.compress.factor_embeddings import FactoredEmbedding, FactorEmbeddings, factor, factors
from burnish.compress.int8 import Int8
from burnish.compress.student import Student
from burnish.compress.vocabulary import Vocabulary
from burnish.core import Work
from burnish.errors import UsageError
from burnish.serve.engines import onnx
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_work


def said(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


def test_what_is_frequent_is_kept_worked_out_by_hand() -> None:
    """Two tokens in two directions: 3 once against 2 four times, 9 against 16."""
    e, weight = torch.diag(torch.tensor([3.0, 2.0])), torch.tensor([1.0, 4.0])
    table, up, lost = factors(e, weight, 1)
    assert torch.allclose(table @ up, torch.diag(torch.tensor([0.0, 2.0])).double())
    assert lost == pytest.approx(9 / 25)
    table, up, lost = factors(e, torch.ones(2), 1)
    assert torch.allclose(table @ up, torch.diag(torch.tensor([3.0, 0.0])).double())


def test_the_error_is_that_of_a_weighted_decomposition() -> None:
    torch.manual_seed(0)
    e, weight = torch.randn(30, 6).double(), torch.rand(30).double() + 0.01
    root = weight.sqrt()[:, None]
    sigma = torch.linalg.svdvals(root * e).square()
    for rank in range(1, 6):
        table, up, lost = factors(e, weight, rank)
        assert lost == pytest.approx(float(sigma[rank:].sum() / sigma.sum()))
        assert float((root * (table @ up - e)).square().sum() / sigma.sum()) == pytest.approx(lost)


def test_tokens_of_the_rows_come_out_better_than_others() -> None:
    work = tiny_work()
    made = FactorEmbeddings(rank=12)(work, Random(0))
    old, new = work.model.get_input_embeddings(), made.model.get_input_embeddings()
    error_V = (new(torch.arange(old.num_embeddings)) - old.weight).square().sum(1).detach()
    used = {i for row in work.train for i in work.tokenizer(row.text)["input_ids"]}
    rest = [i for i in range(old.num_embeddings) if i not in used]
    assert error_V[list(used)].mean() < 0.5 * error_V[rest].mean()
    assert made.notes["weights"] == 12 * (old.num_embeddings + 32) < made.notes["weights_before"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_reloads_and_can_be_plain_again(kind: str, tmp_path: Path) -> None:
    work = family_work(kind)
    made = FactorEmbeddings(share=0.8, epochs=1, lr=1e-3, precision="fp32")(work, Random(0))
    models.save(made.model, made.tokenizer, tmp_path)
    again, tokenizer = models.load_saved(tmp_path)
    assert np.array_equal(said(made), outputs_of_rows(again, tokenizer, made.valid, 64))
    plain = models.as_float(made.model)
    assert np.allclose(said(made), outputs_of_rows(plain, tokenizer, made.valid, 64), atol=1e-5)
    assert {n: p.shape for n, p in plain.named_parameters()} == {n: p.shape for n, p in work.model.named_parameters()}


def test_tied_weights_stay_tied() -> None:
    """At nearly full rank a masked language model says nearly the same, and its head moves with the table."""
    config = BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    torch.manual_seed(0)
    model = BertForMaskedLM(config).eval()
    ids = torch.tensor([[1, 7, 9]])
    before, whole = model(input_ids=ids).logits, sum(p.numel() for p in model.parameters())
    facts, error = factor(model, torch.ones(50), 8)
    assert error < 1e-6
    assert facts["tied"] == ["cls.predictions.decoder"]
    assert torch.allclose(model(input_ids=ids).logits, before, atol=1e-5)
    assert sum(p.numel() for p in model.parameters()) == whole + 8 * 8
    table = model.bert.embeddings.word_embeddings.table.weight
    table.data[20] += 1
    assert float((model(input_ids=ids).logits - before).detach().abs()[..., 20].min()) > 1e-3
    factor_embeddings.to_float(model, facts)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_the_graph_says_the_same_and_other_steps_follow(tmp_path: Path) -> None:
    small = Vocabulary(spare=0)(tiny_work(), Random(0))
    made = FactorEmbeddings(rank=16)(small, Random(0))
    onnx.build(made.model, made.tokenizer, tmp_path, precision="fp32", max_length=64)
    ids = np.array([made.tokenizer(made.valid[0].text)["input_ids"]])
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    assert np.abs(onnx.load(tmp_path, threads=1)(inputs)[0] - said(made)[0]).max() < 1e-4
    student = Student(epochs=1, precision="fp32")(made, Random(0))
    assert isinstance(student.model.get_input_embeddings(), FactoredEmbedding)
    coded = Int8()(student, Random(0))
    models.save(coded.model, coded.tokenizer, tmp_path / "int8")
    again, tokenizer = models.load_saved(tmp_path / "int8")
    assert np.array_equal(said(coded), outputs_of_rows(again, tokenizer, coded.valid, 64))
    with pytest.raises(UsageError, match="before compress/int8"):
        FactorEmbeddings()(coded, Random(0))


def test_training_afterwards_moves_the_parts_and_keeps_what_the_model_says() -> None:
    work = FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=200), Random(0))
    rough = FactorEmbeddings(rank=8)(work, Random(0))
    made = FactorEmbeddings(rank=8, epochs=1, lr=1e-3, precision="fp32", alpha=0.0)(work, Random(0))
    before, after = rough.model.state_dict(), made.model.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert before.keys() == after.keys()
    assert {f"bert.embeddings.word_embeddings.{part}.weight" for part in ("table", "up")} <= set(moved)
    assert (said(made).argmax(1) == said(work).argmax(1)).mean() > 0.9
    assert made.notes["curve"]


@pytest.mark.parametrize("wrong", [{"share": 1.0}, {"rank": 0}, {"unseen": 0.0}])
def test_a_setting_that_cannot_be_meant_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match="try:"):
        FactorEmbeddings(**wrong)
    with pytest.raises(UsageError, match=r"1\.\."):
        FactorEmbeddings(rank=31)(tiny_work(), Random(0))
