from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from burnish import models
from burnish.compress._gram import calibration
from burnish.compress._layers import first_stays, layers_of, with_layers
from burnish.compress.drop_layers import DropLayers, greedy, influence, most, turned
from burnish.compress.int8 import Int8
from burnish.compress.prune_units import PruneUnits
from burnish.core import Work
from burnish.errors import UsageError
from burnish.train.evaluate import outputs_of_rows
from tests.families import KINDS, family_work
from tests.tiny import tiny_work


def outputs(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


def idle(work: Work, number: int) -> Work:
    """With a BERT layer that gives back nearly what it takes."""
    layer = layers_of(work.model)[number]
    with torch.no_grad():
        for part in (layer.attention.output.dense, layer.output.dense):
            part.weight.zero_()
            part.bias.zero_()
    return work


def test_cosines_by_hand() -> None:
    before = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    after = torch.tensor([[3.0, 0.0], [0.0, 2.0], [-1.0, -1.0]])
    assert float(turned(before, after)) == pytest.approx(0 + 1 + 2)


def test_the_most_influential_stay() -> None:
    assert most([0.1, 0.5, 0.2, 0.4], 2) == [1, 3]
    assert most([0.1, 0.5, 0.2, 0.4], 2, first=True) == [0, 1]


def test_a_layer_that_does_nothing_is_the_first_to_go() -> None:
    work = idle(tiny_work(layers=4), 2)
    made = DropLayers(share=0.75, epochs=0, rows=32)(work, Random(0))
    assert made.notes["kept_layers"] == [0, 1, 3]
    assert np.abs(outputs(made) - outputs(work)).max() < 1e-5


def test_padding_has_no_say() -> None:
    work = tiny_work()
    both = calibration(work, sorted(work.train, key=lambda row: len(row.text))[:: len(work.train) - 1])
    lone = [calibration(work, [row])[0] for row in sorted(work.train, key=lambda row: len(row.text))[::63]]
    assert len(both) == 1
    assert not both[0]["attention_mask"].all()
    assert influence(work.model, both) == pytest.approx(influence(work.model, lone), rel=1e-5)


def test_the_loss_it_tells_is_that_of_the_model_left() -> None:
    work = tiny_work(layers=3)
    batches = calibration(work, work.train)
    kept, told = greedy(work.model, work.task, batches, 1)
    assert {*kept, *(turn["gone"] for turn in told)} == {0, 1, 2}
    left = with_layers(work.model, kept)
    with torch.no_grad():
        losses = [
            torch.nn.functional.cross_entropy(
                left(**{k: v for k, v in b.items() if k != "targets"}).logits, b["targets"], reduction="sum"
            )
            for b in batches
        ]
    assert told[-1]["loss"] == pytest.approx(float(sum(losses)) / len(work.train), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("criterion", ["influence", "loss"])
def test_a_plain_model_is_left(kind: str, criterion: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    work = family_work(kind)
    made = DropLayers(share=0.67, criterion=criterion, epochs=0, rows=16)(work, Random(0))
    assert len(layers_of(made.model)) == made.model.config.num_hidden_layers == 2
    assert first_stays(work.model) == (kind == "modernbert")
    models.save(made.model, made.tokenizer, tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert np.array_equal(outputs(made), outputs(replace(made, model=plain)))


def test_what_is_left_learns_and_goes_on_to_other_steps() -> None:
    made = DropLayers(share=0.5, epochs=1, precision="fp32")(tiny_work(), Random(0))
    assert made.notes["steps"] > 0
    last = Int8()(PruneUnits(epochs=0)(made, Random(0)), Random(0))
    assert len(layers_of(last.model)) == 1


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        DropLayers(share=1.0)
    with pytest.raises(UsageError, match="2 or more layers"):
        DropLayers()(tiny_work(layers=1), Random(0))
    pruned = PruneUnits(heads=0.5, epochs=0)(tiny_work(), Random(0))
    with pytest.raises(UsageError, match="before compress/prune_units"):
        DropLayers()(pruned, Random(0))
