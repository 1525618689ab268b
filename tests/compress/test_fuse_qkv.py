import copy
import dataclasses
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish import models
from burnish.compress.fuse_qkv import Fused, FuseQkv
from burnish.compress.int8 import Int8, Int8Linear
from burnish.core import Work
from burnish.errors import UsageError
from burnish.serve.engines import engine, onnx
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_work

THREE = [kind for kind in KINDS if kind != "modernbert"]


def work_of(kind: str) -> Work:
    work = family_work(kind, train=4, valid=12)
    for parameter in work.model.parameters():
        parameter.data *= 3  # answers far enough apart that an exchanged part shows
    return work


def outputs(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


@pytest.mark.parametrize("kind", THREE)
def test_the_answers_are_those_of_the_three(kind: str) -> None:
    work = work_of(kind)
    made = FuseQkv()(work, Random(0))
    assert sum(isinstance(m, Fused) for m in made.model.modules()) == 3
    assert np.abs(outputs(made) - outputs(work)).max() < 1e-5
    plain = models.as_float(made.model)
    assert all(torch.equal(v, work.model.state_dict()[k]) for k, v in plain.state_dict().items())


def test_there_is_one_product_instead_of_three() -> None:
    made = FuseQkv()(work_of("bert"), Random(0))
    shapes = []
    layer = made.model.bert.encoder.layer[0].attention.self
    layer.query.linear.register_forward_hook(lambda m, a, out: shapes.append(out.shape[-1]))
    outputs(dataclasses.replace(made, valid=made.valid[:1]))
    assert shapes == [96]
    assert layer.query.kept.x is None  # nothing is held after a pass


def test_another_tensor_is_computed_and_not_taken_for_the_first() -> None:
    made = FuseQkv(layers=(1,))(work_of("bert"), Random(0))
    whole, apart = made.model.bert.encoder.layer[0].attention.self, work_of("bert").model.bert.encoder.layer[0]
    x, other = torch.randn(1, 4, 32), torch.randn(1, 4, 32)
    with torch.inference_mode():
        whole.query(x)
        assert torch.allclose(whole.key(other), apart.attention.self.key(other), atol=1e-5)
        assert torch.allclose(whole.value(x), apart.attention.self.value(x), atol=1e-5)
        assert torch.allclose(whole.value(other), apart.attention.self.value(other), atol=1e-5)


@pytest.mark.parametrize("first", [FuseQkv, Int8])
def test_int8_before_or_after_gives_the_same_answers_and_bytes(first: type) -> None:
    work = work_of("bert")
    int8 = Int8(smallest=16)
    one = (
        int8(FuseQkv()(work, Random(0)), Random(0)) if first is FuseQkv else FuseQkv()(int8(work, Random(0)), Random(0))
    )
    assert isinstance(one.model.bert.encoder.layer[0].attention.self.query.linear, Int8Linear)
    assert np.abs(outputs(one) - outputs(int8(work, Random(0)))).max() < 1e-5
    assert models.precision(one.model) == "int8"
    assert set(models.as_float(one.model).state_dict()) == set(work.model.state_dict())


@pytest.mark.parametrize("first", [FuseQkv, Int8])
def test_it_is_saved_and_loaded(first: type, tmp_path: Path) -> None:
    steps = [FuseQkv(), Int8(smallest=16)]
    work = work_of("roberta")
    for step in steps if first is FuseQkv else steps[::-1]:
        work = step(work, Random(0))
    models.save(work.model, work.tokenizer, tmp_path)
    model, tokenizer = models.load_saved(tmp_path)
    assert np.array_equal(outputs(dataclasses.replace(work, model=model, tokenizer=tokenizer)), outputs(work))


def test_onnx_says_the_same(tmp_path: Path) -> None:
    work = work_of("bert")
    made = FuseQkv()(work, Random(0))
    engine("onnx").build(made.model, made.tokenizer, tmp_path, precision="fp32", max_length=64)
    predict = engine("onnx").load(tmp_path, threads=1)
    ids = np.array([[2, 9, 14, 22, 3], [2, 7, 7, 3, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": ids * 0}
    with torch.inference_mode():
        plain = work.model(**{k: torch.from_numpy(v) for k, v in batch.items()}).logits.numpy()
    assert np.abs(predict(batch) - plain).max() < 1e-5
    assert onnx.FILE in {p.name for p in tmp_path.iterdir()}


def test_it_can_be_tuned_and_copied() -> None:
    made = FuseQkv()(tiny_work(train=48, valid=16), Random(0))
    tuned = FineTune(epochs=2, lr=3e-3, precision="fp32")(made, Random(0))
    weight = "bert.encoder.layer.0.attention.self.query.linear.weight"
    assert not torch.equal(tuned.model.state_dict()[weight], made.model.state_dict()[weight])
    twin = dataclasses.replace(tuned, model=copy.deepcopy(tuned.model))
    assert np.array_equal(outputs(twin), outputs(tuned))
    twin.model.bert.encoder.layer[0].attention.self.query.linear.weight.data *= 2
    assert not np.array_equal(outputs(twin), outputs(tuned))  # the copy's parts ask the copy


def test_what_cannot_be_fused_is_refused() -> None:
    with pytest.raises(UsageError, match="already"):
        FuseQkv()(family_work("modernbert", train=4, valid=4), Random(0))
    with pytest.raises(UsageError, match="Fused"):
        FuseQkv()(FuseQkv()(work_of("bert"), Random(0)), Random(0))
    with pytest.raises(UsageError, match=r"1\.\.3"):
        FuseQkv(layers=(4,))(work_of("bert"), Random(0))
