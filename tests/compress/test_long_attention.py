import dataclasses
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from burnish import models
from burnish.compress.int8 import Int8
from burnish.compress.long_attention import LongAttention, copied, products, windowed
from burnish.core import Row, Work
from burnish.errors import UsageError
from burnish.models import longest
from burnish.serve.engines import engine
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import family_work
from tests.tiny import PLAIN, tiny_work


def long_rows(n: int, words: int) -> list[Row]:
    rng = Random(1)
    return [Row(f"long:{i}", " ".join(rng.choices(PLAIN, k=words + i)), None, "pos") for i in range(n)]


def work_of(kind: str) -> Work:
    work = family_work(kind, train=4, valid=8)
    for parameter in work.model.parameters():
        parameter.data *= 3
    return work


def outputs(work: Work, rows: list[Row] | None = None) -> np.ndarray:
    most = longest(work.model, work.tokenizer)
    return outputs_of_rows(work.model, work.tokenizer, work.valid if rows is None else rows, most)


def by_definition(q, k, v, mask_BS, reach: int, dilation: int) -> torch.Tensor:
    """Every pair written out: who may see whom."""
    length = q.shape[2]
    i, j = torch.arange(length)[:, None], torch.arange(length)[None]
    away = (i - j).abs()
    sees = ((away <= reach * dilation) & (away % dilation == 0)) | (i == 0) | (j == 0)
    allowed = sees[None] & mask_BS[:, None]
    scores = (q @ k.transpose(-1, -2)).masked_fill(~allowed[:, None], float("-inf"))
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 24, 37])
@pytest.mark.parametrize(("reach", "dilation"), [(4, 1), (1, 1), (3, 2), (2, 5)])
def test_each_token_sees_its_window_and_the_first_one(length: int, reach: int, dilation: int) -> None:
    torch.manual_seed(length)
    q, k, v = torch.randn(3, 2, 2, length, 4)
    mask_BS = torch.ones(2, length, dtype=torch.bool)
    mask_BS[1, max(1, length - 3) :] = False
    found = windowed(q, k, v, mask_BS, reach, dilation, nn.Identity())
    assert torch.allclose(found, by_definition(q, k, v, mask_BS, reach, dilation), atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_a_window_that_covers_the_text_is_full_attention(kind: str) -> None:
    work = work_of(kind)
    made = LongAttention(max_length=128, window=64)(work, Random(0))
    assert np.abs(outputs(made) - outputs(work)).max() < 1e-4
    narrow = LongAttention(max_length=128, window=4)(work, Random(0))
    assert np.abs(outputs(narrow) - outputs(work)).max() > 1e-3


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_longer_texts_are_read_to_their_end(kind: str) -> None:
    work = work_of(kind)
    made = LongAttention(max_length=200, window=32)(work, Random(0))
    assert longest(work.model, work.tokenizer) == 64
    assert longest(made.model, made.tokenizer) == 200
    rows = long_rows(3, 150)
    other = [dataclasses.replace(row, text=row.text + " good") for row in rows]
    assert np.abs(outputs(made, rows) - outputs(made, other)).max() > 1e-6
    assert np.array_equal(outputs(work, rows), outputs(work, other))  # which the short model never saw
    together = outputs(made, rows)
    alone = np.concatenate([outputs(made, [row]) for row in rows])
    assert np.abs(together - alone).max() < 1e-4


def test_positions_are_copied_as_longformer_did() -> None:
    table = torch.arange(6.0)[:, None]
    assert copied(table, 2, 9).flatten().tolist() == [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 2]
    made = LongAttention(max_length=100)(work_of("roberta"), Random(0))
    weight = made.model.roberta.embeddings.position_embeddings.weight
    assert len(weight) == made.model.config.max_position_embeddings == 102
    assert torch.equal(weight[66:70], weight[2:6])


def test_cost_is_linear_in_length() -> None:
    assert products(4096, 256) == pytest.approx(8 * products(512, 256), rel=0.01)
    assert products(4096, 256) < 0.1 * 4096**2


def test_nothing_of_the_size_of_all_pairs_is_made() -> None:
    made = LongAttention(max_length=512, window=8)(work_of("bert"), Random(0))
    seen = []
    layer = made.model.bert.encoder.layer[0].attention.self
    layer.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["attention_mask"].shape), with_kwargs=True
    )
    outputs(made, long_rows(2, 400))
    assert seen[0][1:3] == (1, 1)


@pytest.mark.parametrize("dilation", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_onnx_says_the_same_at_every_length(dilation: int, tmp_path: Path) -> None:
    made = LongAttention(max_length=200, window=16, dilation=dilation)(tiny_work(train=4, valid=4, layers=1), Random(0))
    for parameter in made.model.parameters():
        parameter.data *= 3
    engine("onnx").build(made.model, made.tokenizer, tmp_path, precision="fp32", max_length=200)
    predict = engine("onnx").load(tmp_path, threads=1)
    rng = np.random.default_rng(0)
    for length in (1, 5, 8, 16, 17, 150, 200):
        ids = rng.integers(5, 90, (2, length))
        mask = np.ones_like(ids)
        mask[1, max(1, length - 4) :] = 0
        batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
        with torch.inference_mode():
            expected = made.model(**{k: torch.from_numpy(v) for k, v in batch.items()}).logits.numpy()
        assert np.abs(predict(batch) - expected).max() < 1e-4


def test_it_is_tuned_quantized_saved_and_loaded(tmp_path: Path) -> None:
    work = LongAttention(max_length=128, window=8, dilation=2)(tiny_work(train=48, valid=16), Random(0))
    work = FineTune(epochs=2, lr=3e-3, precision="fp32", max_length=128)(work, Random(0))
    work = Int8(smallest=16)(work, Random(0))
    rows = long_rows(4, 90)
    models.save(work.model, work.tokenizer, tmp_path)
    model, tokenizer = models.load_saved(tmp_path)
    loaded = dataclasses.replace(work, model=model, tokenizer=tokenizer)
    assert longest(model, tokenizer) == 128
    assert np.array_equal(outputs(loaded, rows), outputs(work, rows))


def test_full_attention_comes_back() -> None:
    work = work_of("bert")
    made = LongAttention(max_length=128, window=4)(work, Random(0))
    plain = dataclasses.replace(made, model=models.as_float(made.model))
    assert np.abs(outputs(plain) - outputs(work)).max() < 1e-5
    assert outputs(plain, long_rows(1, 100)).shape == (1, 2)


@pytest.mark.parametrize("kind", ["distilbert", "mpnet", "deberta-v2", "modernbert"])
def test_other_families_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="one of: bert, roberta"):
        LongAttention()(family_work(kind, train=4, valid=4), Random(0))


def test_what_cannot_be_meant_is_refused() -> None:
    for settings in ({"window": 5}, {"window": 0}, {"dilation": 0}, {"max_length": 1}):
        with pytest.raises(UsageError, match=next(iter(settings))):
            LongAttention(**settings)
    with pytest.raises(UsageError, match="quantized"):
        LongAttention()(Int8(smallest=16)(tiny_work(train=4, valid=4), Random(0)), Random(0))
