"""Rates by layer, freezing and gradual unfreezing: the numbers of the papers, and what they do to a run."""

import copy
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import torch

from burnish import catalog
from burnish.core import Desk, lend
from burnish.errors import UsageError
from burnish.train import checkpoint, loop, moments
from burnish.train.compact import expand
from burnish.train.depth import depths
from burnish.train.optimizer import grouped
from burnish.train.tweak import Tweak
from burnish.tune.discriminative import Discriminative
from burnish.tune.finetune import FineTune
from burnish.tune.freeze import Freeze
from burnish.tune.gradual_unfreezing import GradualUnfreezing, lowest_open
from burnish.tune.head_rate import HeadRate
from burnish.tune.layer_decay import LayerDecay
from tests.tiny import tiny_model, tiny_work
from tests.tune.works import calm

LAYERS = 3
LR = 1e-3


def scales(rates, layers: int = LAYERS) -> list[float]:
    """The multiples from the embeddings to the head."""
    return [rates.scale("any", depth, layers) for depth in range(layers + 2)]


def tuned(work, **settings):
    usual = {"epochs": 4, "lr": LR, "precision": "fp32", "batch_size": 16, "patience": 0, "doctor": "off"}
    return FineTune(**usual | settings)(work, Random(0))


def moved(before, after) -> dict[int, float]:
    """The farthest that any weight went, by depth."""
    depth, _ = depths(before)
    found = dict.fromkeys(range(LAYERS + 2), 0.0)
    for (name, a), b in zip(before.named_parameters(), after.parameters(), strict=True):
        found[depth[name]] = max(found[depth[name]], float((a - b).detach().abs().max()))
    return found


# -- the multiples -----------------------------------------------------------------------------------


def test_layer_decay_by_hand() -> None:
    assert scales(LayerDecay(0.5)) == [0.125, 0.25, 0.5, 1.0, 1.0]
    assert LayerDecay().scale("any", 0, 12) == pytest.approx(0.95**12)


def test_discriminative_by_hand() -> None:
    assert scales(Discriminative(groups=0)) == pytest.approx([2.6**-4, 2.6**-3, 2.6**-2, 1 / 2.6, 1.0])
    assert scales(Discriminative()) == scales(Discriminative(groups=0))  # four groups, as in the paper


def test_groups_of_a_deep_encoder_are_of_like_size_and_as_many_as_asked() -> None:
    """Embeddings and 12 layers are 13 in 4 groups, and the lowest rate is that of ULMFiT: a 46th."""
    found = scales(Discriminative(divisor=2.0), layers=12)
    assert found == [0.0625] * 4 + [0.125] * 3 + [0.25] * 3 + [0.5] * 3 + [1.0]
    assert 1 / scales(Discriminative(), layers=12)[0] == pytest.approx(45.7, abs=0.1)


def test_head_rate_raises_the_head_alone() -> None:
    assert scales(HeadRate()) == [1.0, 1.0, 1.0, 1.0, 10.0]


def test_freeze_by_hand() -> None:
    assert scales(Freeze()) == [0, 1, 1, 1, 1]
    assert scales(Freeze(layers=2)) == [0, 0, 0, 1, 1]
    assert scales(Freeze(embeddings=False, layers=1)) == [1, 0, 1, 1, 1]
    assert scales(Freeze(layers=-1)) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("technique", "settings", "said"),
    [
        (LayerDecay, {"factor": 0.0}, "factor"),
        (LayerDecay, {"factor": 1.1}, "at most 1"),
        (LayerDecay, {"factor": float("nan")}, "factor"),
        (Discriminative, {"divisor": 0.5}, "1 or more"),
        (Discriminative, {"groups": -1}, "groups"),
        (HeadRate, {"times": 0.0}, "above 0"),
        (Freeze, {"layers": -2}, "-1 for all"),
        (Freeze, {"embeddings": False}, "nothing"),
        (GradualUnfreezing, {"over": 0.0}, "above 0"),
    ],
)
def test_bad_settings_say_what_would_be_good(technique, settings, said) -> None:
    with pytest.raises(UsageError, match=said):
        technique(**settings)


def test_more_layers_than_there_are_cannot_be_frozen() -> None:
    with pytest.raises(UsageError, match="at most 3"):
        tuned(tiny_work(layers=LAYERS), rates=(Freeze(layers=4),))


# -- what they do ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rates",
    [(LayerDecay(0.5),), (Discriminative(),), (HeadRate(),), (LayerDecay(0.5), HeadRate(4.0)), (Freeze(layers=2),)],
    ids=lambda rates: "+".join(type(r).__name__ for r in rates),
)
def test_the_first_step_of_adam_is_as_long_as_the_rate_of_each_depth(rates) -> None:
    """With bias correction it moves the weight whose gradient is large by the rate itself, whatever the gradient."""
    work = tiny_work(train=16, layers=LAYERS)
    made = tuned(work, epochs=1, weight_decay=0.0, rates=rates)
    assert made.notes["steps"] == 1
    for depth, far in moved(work.model, made.model).items():
        expected = LR
        for one in rates:
            expected *= one.scale("", depth, LAYERS)
        assert far == pytest.approx(expected, rel=0.02), depth


@pytest.mark.parametrize("rates", [LayerDecay(0.5), Discriminative(), HeadRate(), Freeze(layers=1)])
def test_accumulation_changes_nothing(rates) -> None:
    runs = [tuned(calm(tiny_work(layers=LAYERS)), rates=(rates,), accumulate=n).notes["curve"] for n in (1, 3)]
    for a, b in zip(*runs, strict=True):
        assert (b["loss"], b["grad_norm"]) == pytest.approx((a["loss"], a["grad_norm"]), rel=1e-4, abs=2e-5)


def test_the_frozen_stays_to_the_bit_and_costs_no_memory() -> None:
    work = tiny_work(layers=LAYERS)
    made = tuned(work, rates=(Freeze(layers=2),), weight_decay=0.5)
    far = moved(work.model, made.model)
    assert [far[d] for d in (0, 1, 2)] == [0, 0, 0]
    assert far[3] > 0
    assert far[4] > 0
    assert all(p.requires_grad for p in made.model.parameters())  # what comes next may train all of it
    model = tiny_model(layers=LAYERS)
    trained = [n for group in grouped(model, 0.01, (Freeze(layers=2),)) for n in group.names]
    assert {depths(model)[0][n] for n in trained} == {3, 4}


# -- gradual unfreezing ------------------------------------------------------------------------------


def test_openings_by_hand() -> None:
    """Three layers and the embeddings are four openings; in 8 steps, one every second step."""
    assert [lowest_open(step, 4, 8) for step in range(10)] == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert lowest_open(0, 4, 0.5) == 4
    assert lowest_open(1, 4, 0.5) == 0


@pytest.mark.parametrize(
    ("over", "epochs", "expected"),
    [
        (None, 20, 4 * 10),  # an epoch of ten steps for each opening, as in the paper
        (None, 4, 20),  # half of training at most
        (1.5, 4, 15),
    ],
)
def test_when_all_is_open(over, epochs, expected) -> None:
    live = GradualUnfreezing(over).begin(SimpleNamespace(per_epoch=10, steps=10 * epochs))
    model = tiny_model(layers=LAYERS)
    assert first_all_open(live, model, 10 * epochs) == expected


def first_all_open(live, model, steps: int) -> int:
    for step in range(steps):
        live.before_step(model, step)
        if all(p.requires_grad for p in model.parameters()):
            return step
    return -1


def open_depths(model) -> set[int]:
    depth, _ = depths(model)
    return {depth[n] for n, p in model.named_parameters() if p.requires_grad}


def test_a_step_is_open_alike_from_wherever_one_comes() -> None:
    facts = SimpleNamespace(per_epoch=4, steps=16)
    straight, model = GradualUnfreezing().begin(facts), tiny_model(layers=LAYERS)
    expected = {}
    for step in range(16):
        straight.before_step(model, step)
        expected[step] = open_depths(model)
    assert expected[0] == {4}
    assert expected[15] == {0, 1, 2, 3, 4}
    jumping, other = GradualUnfreezing().begin(facts), tiny_model(layers=LAYERS)
    for step in (9, 3, 15, 0, 7):  # a resumed run, and one that the doctor sends back
        jumping.before_step(other, step)
        assert open_depths(other) == expected[step]


OPTIMIZERS = [name for name in catalog.names("tune") if catalog.page(name).part == "Optimizer"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_moves_what_is_closed(name: str) -> None:
    """Not by weight decay, and not by moments from before it closed, as when a run goes back to an early step."""
    model = tiny_model(layers=LAYERS)
    live = GradualUnfreezing().begin(SimpleNamespace(per_epoch=4, steps=16))
    optimizer = catalog.build(name).make(grouped(model, 0.5), 1e-2)
    getattr(optimizer, "train", lambda: None)()
    depth, _ = depths(model)
    ids = torch.tensor([[2, 7, 9, 3]])

    def step(number: int) -> dict[int, float]:
        before = [(n, p.detach().clone()) for n, p in model.named_parameters()]
        live.before_step(model, number)
        optimizer.zero_grad()
        model(input_ids=ids).logits[:, 0].sum().backward()
        optimizer.step()
        found = dict.fromkeys(range(LAYERS + 2), 0.0)
        for (n, old), new in zip(before, model.parameters(), strict=True):
            found[depth[n]] = max(found[depth[n]], float((old - new).detach().abs().max()))
        return found

    early = step(0)
    assert early[4] > 0
    assert [early[d] for d in range(4)] == [0, 0, 0, 0]
    assert step(15)[0] > 0
    assert step(15)[0] > 0  # some do nothing in their first step
    back = step(2)
    assert [back[d] for d in range(3)] == [0, 0, 0]
    assert back[3] > 0


class Killed(BaseException):
    pass


def cut_and_resumed(at: int, folder: Path, monkeypatch, work, **settings):
    """The run, killed right after the checkpoint of step `at`, and gone on with."""
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)

    def save_then_die(place, step, tensors, state):
        checkpoint.save(place, step, tensors, state)
        if step >= at:
            raise Killed

    with lend(Desk(folder=folder)):
        monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
        with pytest.raises(Killed):
            tuned(work, **settings)
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        return tuned(work, **settings)


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_cut_while_layers_open_ends_in_the_same_bits(at: int, tmp_path: Path, monkeypatch) -> None:
    """16 steps with dropout, an opening every second step up to the eighth."""
    settings = {"tweaks": (GradualUnfreezing(),)}
    whole = tuned(tiny_work(layers=LAYERS), **settings)
    resumed = cut_and_resumed(at, tmp_path, monkeypatch, tiny_work(layers=LAYERS), **settings)
    assert whole.notes["curve"] == resumed.notes["curve"]
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_unfreezing_does_something_and_nothing_under_accumulation() -> None:
    runs = [
        tuned(calm(tiny_work(layers=LAYERS)), tweaks=tweaks, accumulate=n)
        for tweaks, n in (((GradualUnfreezing(),), 1), ((GradualUnfreezing(),), 3), ((), 1))
    ]
    curves = [[p["grad_norm"] for p in run.notes["curve"]] for run in runs]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4, abs=2e-5)
    assert curves[0][0] < curves[2][0]  # the head's gradient alone
    assert all(p.requires_grad for p in runs[0].model.parameters())


class Last(Tweak):
    """Keeps the model of the last step, which need not be the best."""

    def after_step(self, model, step: int) -> None:
        if step == 16:
            self.model = copy.deepcopy(model)
            expand(self.model)


def test_what_is_still_closed_at_the_end_never_moved_and_what_rates_freeze_never_opens() -> None:
    work, last = tiny_work(layers=LAYERS), Last()
    tuned(work, tweaks=(GradualUnfreezing(over=8.0), last), weight_decay=0.5)
    far = moved(work.model, last.model)
    assert [depth for depth, d in far.items() if d > 0] == [3, 4]  # four epochs of eight: one of four openings
    tuned(work, tweaks=(GradualUnfreezing(), last), rates=(Freeze(layers=1),))
    far = moved(work.model, last.model)
    assert [depth for depth, d in far.items() if d > 0] == [2, 3, 4]
