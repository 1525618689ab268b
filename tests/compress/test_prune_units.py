from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import onnxruntime as ort
import pytest
import torch

from burnish import models
from burnish.compress._gram import calibration, grams, output_error
from burnish.compress._recover import recovered
from burnish.compress._units import Units, cut_units, head_size, layer_names, linear, units_of
from burnish.compress.int8 import Int8
from burnish.compress.prune_units import PruneUnits, kept_units, refit, taylor
from burnish.core import Work
from burnish.errors import UsageError
from burnish.models import family
from burnish.serve.engines import onnx
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune
from tests.families import KINDS, family_work
from tests.tiny import tiny_model, tiny_work

HALF = {"heads": 0.5, "columns": 0.5, "epochs": 0, "rows": 32}


def outputs(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


def loud(work: Work) -> Work:
    """With weights large enough that a head which is missed or misplaced shows."""
    with torch.no_grad():
        for p in work.model.parameters():
            if p.ndim == 2:
                p.mul_(5)
    return work


def masked(work: Work, keep: dict[str, Units]) -> np.ndarray:
    """Outputs of the whole model with all other units silenced."""
    own, size, handles = family(work.model), head_size(work.model), []
    for layer, units in keep.items():
        for name, kept, width in ((own.out, units.heads, size), (own.down, units.columns, 1)):
            module = linear(work.model, f"{layer}.{name}")
            gate = torch.zeros(module.in_features // width)
            gate[list(kept)] = 1
            gate = gate.repeat_interleave(width)
            handles.append(module.register_forward_pre_hook(lambda m, args, gate=gate: (args[0] * gate,)))
    found = outputs(work)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_model_is_the_whole_one_with_the_units_silenced(kind: str, tmp_path: Path) -> None:
    work = loud(family_work(kind))
    made = PruneUnits(**HALF, allot="global", refit=False)(work, Random(0))
    scores = taylor(work.model, work.task, calibration(work, Random(0).sample(list(work.train), 32)))
    keep = PruneUnits(**HALF, allot="global").chosen(scores)
    expected = masked(work, keep)
    assert np.abs(expected - outputs(made)).max() < 1e-5
    assert np.abs(expected - outputs(work)).max() > 1e-3
    assert sum(p.numel() for p in made.model.parameters()) < sum(p.numel() for p in work.model.parameters())
    models.save(made.model, made.tokenizer, tmp_path)
    again = replace(made, model=models.load_saved(tmp_path)[0])
    assert np.array_equal(outputs(made), outputs(again))
    plain = models.as_float(again.model)
    assert {k: v.shape for k, v in plain.state_dict().items()} == {
        k: v.shape for k, v in work.model.state_dict().items()
    }
    assert np.abs(outputs(made) - outputs(replace(made, model=plain))).max() < 1e-5


@pytest.mark.parametrize("kind", ["mpnet"])
def test_the_graph_says_what_the_model_says(kind: str, tmp_path: Path) -> None:
    """One family, for time: the one whose attention is changed by more than the sizes of its layers."""
    made = PruneUnits(**HALF, allot="global")(loud(family_work(kind)), Random(0))
    program = onnx.export(made.model, made.tokenizer, max_length=64)
    program.save(str(tmp_path / "m.onnx"))
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    batch = calibration(made, made.valid[:1])[0]
    found = session.run(["logits"], {i.name: batch[i.name].numpy() for i in session.get_inputs()})[0]
    with torch.no_grad():
        said = made.model(**{k: v for k, v in batch.items() if k != "targets"}).logits.numpy()
    assert np.abs(found - said).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_columns_alone_leave_a_plain_model(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    made = PruneUnits(heads=1, columns=0.25, epochs=0, rows=32)(family_work(kind), Random(0))
    assert not getattr(made.model, "burnish_structure", ())
    models.save(made.model, made.tokenizer, tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert np.array_equal(outputs(made), outputs(replace(made, model=plain)))


def test_the_fit_lowers_the_error_of_every_layer() -> None:
    made = PruneUnits(**HALF)(loud(tiny_work(layers=3)), Random(0))
    assert len(made.notes["refit"]) == 6
    assert all(after < before for before, after in made.notes["refit"].values())


def test_the_errors_it_reports_are_those_of_the_layers() -> None:
    work = loud(tiny_work())
    made = PruneUnits(**HALF, refit=False)(work, Random(0))
    name = layer_names(work.model)[0] + ".attention.output.dense"
    batches = calibration(work, work.train)
    old, new, gram = linear(work.model, name), linear(made.model, name), grams(work.model, [name], batches)[name]
    keep = made.model.burnish_structure[0]["layers"][layer_names(work.model)[0]]["heads"]
    w, v = torch.cat([old.weight, old.bias[:, None]], 1).detach(), torch.zeros(32, 33)
    rows = torch.cat([torch.arange(16) + 16 * h for h in keep])
    v[:, rows], v[:, -1] = new.weight.detach(), new.bias.detach()
    seen = []
    handle = old.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    with torch.no_grad():
        for batch in batches:
            work.model(**{k: t for k, t in batch.items() if k != "targets"})
    handle.remove()
    x = torch.cat([s[b["attention_mask"].bool()] for s, b in zip(seen, batches, strict=True)])
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    expected = (x @ (v - w).T).pow(2).sum() / (x @ w.T).pow(2).sum()
    assert output_error(v - w, w, gram) == pytest.approx(float(expected), rel=1e-4)


def test_an_input_that_another_one_repeats_is_replaced_without_loss() -> None:
    x = torch.randn(50, 3, dtype=torch.double)
    x = torch.cat([x, x[:, :1] * 2], 1)  # the fourth is twice the first
    w = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    found = refit(w, x.T @ x, torch.tensor([0, 1, 2]), ridge=1e-9)
    assert found[0].tolist() == pytest.approx([9, 2, 3], abs=1e-5)
    held = refit(w, x.T @ x, torch.tensor([0, 1, 2]), ridge=1e9)
    assert held[0].tolist() == pytest.approx([1, 2, 3], abs=1e-5)


def test_units_by_hand() -> None:
    scores = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.0, 0.1])]
    assert kept_units(scores, 0.5, "uniform") == [(1,), (1, 2)] or kept_units(scores, 0.5, "uniform")[1] == (0, 2)
    assert kept_units(scores, 0.6, "global") == [(0, 1), (2,)]  # 0.6 and 0.8; 0, 0 and 1
    assert kept_units(scores, 0.01, "global") == [(1,), (2,)]  # no layer is emptied
    assert kept_units(scores, 0.01, "uniform") == [(1,), (2,)]


def test_scores_are_what_silencing_a_unit_does_to_the_loss() -> None:
    """To first order: with gates at 1 - e, the loss of a row changes by e times its score."""
    work, e = tiny_work(train=1), 1e-3
    batch = calibration(work, work.train)
    heads, columns = taylor(work.model, work.task, batch)[layer_names(work.model)[0]]
    for name, unit, width, score in (("attention.output.dense", 1, 16, heads[1]), ("output.dense", 5, 1, columns[5])):
        layer = linear(work.model, f"{layer_names(work.model)[0]}.{name}")
        losses = []
        for change in (e, -e):
            gate = torch.ones(layer.in_features)
            gate[unit * width : (unit + 1) * width] -= change
            handle = layer.register_forward_pre_hook(lambda m, args, gate=gate: (args[0] * gate,))
            said = work.model.double()(**{k: v for k, v in batch[0].items() if k != "targets"}).logits
            losses.append(torch.nn.functional.cross_entropy(said, batch[0]["targets"]).item())
            handle.remove()
        work.model.float()
        assert abs(losses[0] - losses[1]) / (2 * e) == pytest.approx(float(score), rel=2e-2)


def test_it_is_tuned_again_cut_again_and_quantized(tmp_path: Path) -> None:
    first = PruneUnits(heads=0.5, columns=0.75, allot="global", epochs=0)(family_work("mpnet"), Random(0))
    tuned = FineTune(epochs=1, precision="fp32")(first, Random(0))
    second = PruneUnits(heads=0.75, columns=0.5, epochs=0)(tuned, Random(0))
    last = Int8()(second, Random(0))
    assert [part["use"] for part in last.model.burnish_structure] == ["compress/prune_units"] * 2 + ["compress/int8"]
    models.save(last.model, last.tokenizer, tmp_path)
    again = replace(last, model=models.load_saved(tmp_path)[0])
    assert np.array_equal(outputs(last), outputs(again))
    plain = models.as_float(second.model)
    assert np.abs(outputs(second) - outputs(replace(second, model=plain))).max() < 1e-5


def test_lessons_are_learned_from_the_model_before() -> None:
    """With labels left out (alpha 0), only it can have told what a model with fresh weights knows in the end."""
    work = FineTune(epochs=6, lr=3e-3, precision="fp32")(tiny_work(train=200), Random(0))
    wishes = PruneUnits(alpha=0.0, epochs=5, lr=3e-3, precision="fp32")
    made = replace(work, model=recovered(work, tiny_model(seed=3), wishes, Random(0))[0])
    assert np.mean(outputs(made).argmax(1) == outputs(work).argmax(1)) > 0.85
    untaught = tiny_model(seed=3)
    assert recovered(work, untaught, replace(wishes, epochs=0), Random(0))[0] is untaught


def test_the_sizes_it_tells_are_those_of_the_tensors() -> None:
    work = tiny_work()
    made = PruneUnits(heads=0.5, columns=0.1, epochs=1, precision="fp32")(work, Random(0))
    assert made.notes["parameters"] == [sum(p.numel() for p in w.model.parameters()) for w in (work, made)]
    # 2 layers of 4 x 32 x 32 and 2 x 32 x 64; half of the heads and 6 of 64 columns stay
    assert made.notes["multiplications_per_token"] == [2 * (4096 + 4096), 2 * (2048 + 2 * 32 * 6)]


def test_weights_decide_where_they_are_asked() -> None:
    work = tiny_work()
    with torch.no_grad():
        work.model.bert.encoder.layer[1].attention.output.dense.weight[:, 16:] = 0  # nobody reads the second head
        work.model.bert.encoder.layer[0].intermediate.dense.weight[:32] = 0
    made = PruneUnits(**HALF, criterion="magnitude", refit=False)(work, Random(0))
    left = made.model.burnish_structure[0]["layers"]
    assert left["bert.encoder.layer.1"]["heads"] == [0]
    assert np.abs(outputs(made) - outputs(work)).max() < 1  # runs
    kept = made.model.bert.encoder.layer[0].intermediate.dense.weight
    assert torch.equal(kept, work.model.bert.encoder.layer[0].intermediate.dense.weight[32:])


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="one of them below 1"):
        PruneUnits(heads=1, columns=1)
    with pytest.raises(UsageError, match="heads 0"):
        PruneUnits(heads=0)
    with pytest.raises(UsageError, match="put compress/prune_units first"):
        PruneUnits()(Int8()(tiny_work(), Random(0)), Random(0))


def test_all_of_a_layer_may_stay() -> None:
    work = tiny_work()
    layer = layer_names(work.model)[0]
    before = outputs(work)
    cut_units(work.model, layer, units_of(work.model, layer))
    assert np.array_equal(before, outputs(work))
