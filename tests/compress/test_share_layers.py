"""Groups, means, one copy on disk and in the graph, and INT8 on top."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from onnx import load_model
from onnx.numpy_helper import to_array

from burnish import models
from burnish.compress.int8 import Int8
from burnish.compress.share_layers import SharedLayers, ShareLayers, grouped_layers, merged
from burnish.compress.student import Student
from burnish.core import Work
from burnish.errors import UsageError
from burnish.serve.engines import onnx
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_work
from tests.tune.short_runs import cut_equals_straight

QUICK = {"epochs": 1, "lr": 3e-3, "precision": "fp32", "doctor": "off"}


def said(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


def layer_bytes(model: torch.nn.Module) -> int:
    return sum(t.nbytes for name, t in model.state_dict().items() if ".layer." in name)


def test_groups_are_even_and_consecutive() -> None:
    assert grouped_layers(6, 2) == [0, 0, 0, 1, 1, 1]
    assert grouped_layers(12, 5) == sorted(grouped_layers(12, 5))
    assert grouped_layers(3, 1) == [0, 0, 0]
    with pytest.raises(UsageError, match=r"1\.\.2"):
        grouped_layers(3, 3)


def test_a_mean_by_hand() -> None:
    layers = [torch.nn.Linear(1, 1) for _ in range(3)]
    for i, layer in enumerate(layers):
        layer.weight.data.fill_(i)
    assert merged(layers, mean=True).weight.item() == 1
    assert merged(layers[1:], mean=False).weight.item() == 1
    assert layers[0].weight.item() == 0


def test_equal_layers_stay_what_they_were() -> None:
    work = tiny_work(layers=4)
    first = work.model.bert.encoder.layer[0].state_dict()
    for layer in work.model.bert.encoder.layer:
        layer.load_state_dict(first)
    made = ShareLayers(groups=1, epochs=0)(work, Random(0))
    assert np.allclose(said(made), said(work), atol=1e-6)
    assert layer_bytes(made.model) * 4 == layer_bytes(work.model)
    assert len(made.model.bert.encoder.layer) == 4


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "modernbert"])
def test_every_family_reloads_and_is_one_copy_on_disk_and_in_the_graph(kind: str, tmp_path: Path) -> None:
    made = ShareLayers(groups=1, **QUICK)(family_work(kind), Random(0))
    models.save(made.model, made.tokenizer, tmp_path)
    again, tokenizer = models.load_saved(tmp_path)
    assert np.array_equal(said(made), outputs_of_rows(again, tokenizer, made.valid, 64))
    whole = sum(p.nbytes for p in made.model.parameters())
    assert whole < (tmp_path / "model.safetensors").stat().st_size < whole + 20_000
    plain = models.as_float(made.model)
    assert np.allclose(said(made), outputs_of_rows(plain, tokenizer, made.valid, 64), atol=1e-6)
    assert not any(isinstance(m, SharedLayers) for m in plain.modules())


def test_layers_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match="differ in more"):
        ShareLayers()(family_work("modernbert"), Random(0))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_graph_holds_shared_weights_once_and_says_the_same(precision: str, tmp_path: Path) -> None:
    made = ShareLayers(groups=1, epochs=0)(tiny_work(layers=2), Random(0))
    if precision == "int8":
        made = Int8()(made, Random(0))
        models.save(made.model, made.tokenizer, tmp_path / "saved")
        again, _ = models.load_saved(tmp_path / "saved")
        assert isinstance(again.bert.encoder.layer, SharedLayers)
        assert np.array_equal(said(made), outputs_of_rows(again, made.tokenizer, made.valid, 64))
    onnx.build(made.model, made.tokenizer, tmp_path, precision=precision, max_length=64)
    graph = load_model(tmp_path / "model.onnx").graph
    held = sum(t.nbytes for t in made.model.state_dict().values())
    assert sum(to_array(tensor).nbytes for tensor in graph.initializer) < 1.1 * held
    predict = onnx.load(tmp_path, threads=1)
    ids = made.tokenizer([row.text for row in made.valid[:4]], padding=False)["input_ids"]
    for row, expected in zip(ids, said(made), strict=False):
        inputs = {"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)}
        inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])
        assert np.abs(predict(inputs)[0] - expected).max() < 1e-4


def test_training_brings_back_what_the_mean_lost() -> None:
    teacher = FineTune(epochs=8, lr=3e-3, precision="fp32")(tiny_work(train=160, layers=3), Random(0))
    rough = ShareLayers(groups=1, start="mean", epochs=0)(teacher, Random(0))
    made = ShareLayers(groups=1, start="mean", epochs=4, lr=3e-3, precision="fp32")(teacher, Random(0))
    target = said(teacher)
    assert np.abs(said(made) - target).mean() < 0.5 * np.abs(said(rough) - target).mean()
    assert made.notes["groups"] == [0, 0, 0]
    assert made.notes["bytes"] < 0.6 * made.notes["bytes_before"]


def test_a_cut_ends_in_the_same_bits(tmp_path: Path, monkeypatch) -> None:
    step = ShareLayers(groups=1, **{**QUICK, "epochs": 2}, batch_size=16, patience=0)
    assert cut_equals_straight(4, tmp_path, monkeypatch, lambda: step(tiny_work(layers=3), Random(0)))


def test_layers_leave_before_they_are_shared_not_after() -> None:
    made = ShareLayers(groups=1, epochs=0)(tiny_work(layers=3), Random(0))
    with pytest.raises(UsageError, match="before compress/share_layers"):
        Student()(made, Random(0))
    with pytest.raises(UsageError, match="groups"):
        ShareLayers(groups=0)
