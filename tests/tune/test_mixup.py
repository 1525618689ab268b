import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from burnish.errors import UsageError
from burnish.train.batches import collate
from burnish.train.evaluate import pad_id_of
from burnish.train.texts import Texts
from burnish.train.tweak import Remember
from burnish.tune._blend import blend, blending, seen_by_either
from burnish.tune.checkpointing import Checkpointing
from burnish.tune.fgm import Fgm
from burnish.tune.mixup import Mixup, between, both, partners
from burnish.tune.rdrop import RDrop
from tests.families import KINDS, family_work
from tests.tiny import tiny_work
from tests.tune.short_runs import cut_equals_straight, is_plain_and_reloads, same_weights, tuned
from tests.tune.test_rdrop import facts, plain_loss
from tests.tune.works import calm, changes_training, work_for

OBJECTIVES = ("cross_entropy", "binary_cross_entropy", "mean_squared_error")


def batch_of(targets, weights):
    count = len(targets)
    return {
        "input_ids": torch.arange(count * 2.0).reshape(count, 2),
        "targets": torch.tensor(targets),
        "weights": torch.tensor(weights),
        "rows": torch.arange(count),
    }


# -- the maths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_every_row_has_another_one_for_a_partner(rows: int) -> None:
    for seed in range(20):
        found = partners(rows, random.Random(seed)).tolist()
        assert sorted(found) == list(range(rows))
        assert all(i != j for i, j in enumerate(found))


def test_a_blend_worked_out_by_hand() -> None:
    states = torch.tensor([[[1.0, 2.0]], [[5.0, 10.0]]])
    assert blend(states, 0.75, torch.tensor([1, 0])).tolist() == [[[2.0, 4.0]], [[4.0, 8.0]]]


def test_targets_of_both_worked_out_by_hand() -> None:
    made = both(batch_of([0, 1], [2.0, 4.0]), torch.tensor([1, 0]), 0.75)
    assert made["targets"].tolist() == [0, 1, 1, 0]
    assert made["weights"].tolist() == [1.5, 3.0, 1.0, 0.5]
    assert made["rows"].tolist() == [0, 1, 1, 0]
    assert torch.equal(made["input_ids"][:2], made["input_ids"][2:])


def test_numbers_between_worked_out_by_hand() -> None:
    made = between(batch_of([[0.0], [4.0]], [1.0, 3.0]), torch.tensor([1, 0]), 0.75)
    assert made["targets"].tolist() == [[1.0], [3.0]]
    assert made["weights"].tolist() == [1.5, 2.5]
    assert made["rows"].tolist() == [0, 1]


def test_masks_show_what_either_shows() -> None:
    partner = torch.tensor([1, 0])
    assert seen_by_either(torch.tensor([[1, 1, 0], [1, 0, 1]]), partner).tolist() == [[1, 1, 1], [1, 1, 1]]
    seen = torch.tensor([[True, False], [False, False]]).view(2, 1, 1, 2)
    assert seen_by_either(seen, partner).flatten().tolist() == [True, False, True, False]
    added = torch.tensor([[0.0, -1e9], [-1e9, -1e9]]).view(2, 1, 1, 2)
    assert seen_by_either(added, partner).flatten().tolist() == [0.0, -1e9, 0.0, -1e9]
    for other in (None, 3, torch.zeros(2, 5, 4), torch.zeros(2, 5), torch.zeros(1, 1, 2, 2)):
        assert seen_by_either(other, partner) is other


# -- every family ----------------------------------------------------------------------------------


def two_rows(kind: str):
    """A short row and a long one, and a still model."""
    work = family_work(kind)
    rows = sorted(work.train, key=lambda row: len(row.text))
    inputs = collate(Texts(work.tokenizer, (), 64).encode([rows[0], rows[-1]]), pad_id_of(work.tokenizer))
    assert not inputs["attention_mask"].all()
    generator = torch.Generator().manual_seed(0)
    for parameter in work.model.parameters():  # as they come, they hardly tell one row from another
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return work.model.eval(), inputs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_two_rows_blended_half_and_half_are_one(kind: str, layer: int) -> None:
    """Their states are alike from there on, and so are the answers, when both attend to the tokens of both."""
    model, inputs = two_rows(kind)
    plain = model(**inputs).logits
    with blending(model, layer, 0.5, torch.tensor([1, 0])):
        halves = model(**inputs).logits
    assert not torch.allclose(plain[0], plain[1], atol=1e-3)
    assert torch.allclose(halves[0], halves[1], atol=1e-5)
    assert torch.equal(model(**inputs).logits, plain)  # nothing is left behind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 2])
def test_below_the_blend_each_row_attends_to_its_own_tokens(kind: str, layer: int) -> None:
    """The row with the most tokens gains no token by the union; blended with next to nothing, it stays as it is."""
    model, inputs = two_rows(kind)
    with blending(model, layer, 1.0, torch.tensor([1, 0])):
        found = model(**inputs).logits
    assert torch.allclose(found[1], model(**inputs).logits[1], atol=1e-6)


# -- the loss --------------------------------------------------------------------------------------


class Half(nn.Module):
    """BERT in everything that mixup asks for; says its first two states."""

    def __init__(self, rows: int):
        super().__init__()
        self.config = SimpleNamespace(model_type="bert")
        self.bert = nn.Module()
        self.bert.encoder = nn.Module()
        self.bert.encoder.layer = nn.ModuleList([nn.Identity()])

    def get_input_embeddings(self):
        return None

    def forward(self, input_ids):
        return SimpleNamespace(logits=self.bert.encoder.layer[0](input_ids))


@pytest.mark.parametrize("inner_doubles", [False, True])
def test_a_loss_worked_out_by_hand(inner_doubles: bool) -> None:
    """Both rows' outputs are blended, and each is held against both labels."""
    live = Mixup(alpha=1.0).begin(facts())
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    batch = {**batch_of([0, 1], [1.0, 3.0]), "input_ids": logits}

    def inner(model, given):
        if inner_doubles:
            return plain_loss(model, {k: torch.cat([v, v]) for k, v in given.items()}) / 2
        return plain_loss(model, given)

    found = float(live.loss(Half(2), batch, inner))
    share = live.notes()["mixup_lambda"]
    assert 0.5 <= share <= 1
    outputs = share * logits + (1 - share) * logits[[1, 0]]
    own, other = (nn.functional.cross_entropy(outputs, torch.tensor(t), reduction="none") for t in ([0, 1], [1, 0]))
    weights = torch.tensor([1.0, 3.0])
    expected = (share * weights * own + (1 - share) * weights[[1, 0]] * other).sum()
    assert found == pytest.approx(float(expected), abs=1e-5)


def test_the_same_seed_and_step_blend_alike_and_others_do_not() -> None:
    def shares(seed: int) -> list[float]:
        found = []
        for step in range(4):
            live = Mixup(alpha=1.0).begin(replace(facts(), seed=seed))
            live.before_step(nn.Identity(), step)
            live.loss(Half(2), {**batch_of([0, 1], [1.0, 1.0])}, plain_loss)
            found.append(live.notes()["mixup_lambda"])
        return found

    assert shares(0) == shares(0)
    assert len({*shares(0), *shares(1)}) == 8


def test_rows_that_are_alone_are_said_so() -> None:
    made = tuned(epochs=1, batch_size=4, accumulate=4, tweaks=(Mixup(),))
    assert "single row" in made.notes["mixup"]
    assert same_weights(made, tuned(epochs=1, batch_size=4, accumulate=4))
    assert "mixup" not in tuned(epochs=1, tweaks=(Mixup(),)).notes


# -- in a run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("layers", [(), (1, 2)])
def test_it_changes_training(objective: str, layers: tuple[int, ...]) -> None:
    assert changes_training(objective, tweaks=(Mixup(layers=layers),))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_lambda_of_one_is_the_plain_loss(objective: str, monkeypatch) -> None:
    """With alpha next to 0 no row is blended."""
    plain, made = (tuned(calm(work_for(objective)), epochs=1, tweaks=t) for t in ((), (Mixup(alpha=1e-9),)))
    assert made.notes["mixup_lambda"] == 1.0
    for a, b in zip(plain.notes["curve"], made.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


def test_alpha_0_is_the_plain_run() -> None:
    assert same_weights(tuned(), tuned(tweaks=(Mixup(alpha=0.0),)))


@pytest.mark.parametrize("at", [5])
def test_a_cut_ends_in_the_same_bits(at: int, tmp_path, monkeypatch) -> None:
    assert cut_equals_straight(at, tmp_path / "cut", monkeypatch, lambda: tuned(tweaks=(Mixup(layers=(0, 1, 2)),)))
    assert is_plain_and_reloads(tuned(epochs=1, tweaks=(Mixup(),)), tmp_path / "saved")


@pytest.mark.parametrize("more", [(RDrop(),), (Fgm(),), (Checkpointing(),)], ids=str)
def test_it_works_together_with_others(more) -> None:
    alone, company = (tuned(epochs=1, tweaks=(Mixup(layers=(1,)), *t)).notes for t in ((), more))
    assert np.isfinite([p["loss"] for p in company["curve"]]).all()
    assert company["mixup_lambda"] == alone["mixup_lambda"]
    assert (company["curve"] == alone["curve"]) == (more == (Checkpointing(),))


def test_an_attack_may_stand_outside_it() -> None:
    assert tuned(epochs=1, tweaks=(Fgm(), Mixup())).notes["attack_rise"] > 0


# -- what cannot be --------------------------------------------------------------------------------


def test_nobody_outside_may_read_the_outputs() -> None:
    with pytest.raises(UsageError, match="put it first"):
        tuned(tweaks=(RDrop(), Mixup()))
    assert isinstance(Remember(nn.Identity()), nn.Module)


def test_layers_that_are_not_there_are_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match=r"0\.\.2"):
        tuned(tweaks=(Mixup(layers=(7, 9, 12)),))
    with pytest.raises(UsageError, match="numbers of layers"):
        Mixup(layers=(-1,))
    with pytest.raises(UsageError, match="0 or more"):
        Mixup(alpha=-0.5)


def test_shared_layers_are_refused_before_the_run() -> None:
    work = tiny_work()
    work.model.bert.encoder.layer[1] = work.model.bert.encoder.layer[0]
    with pytest.raises(UsageError, match="shared"):
        Mixup().begin(facts()).prepare(work.model)


def test_answers_within_a_text_are_refused_before_the_run() -> None:
    task = SimpleNamespace(objective="span_cross_entropy", reads="answers")
    with pytest.raises(UsageError, match="two places"):
        Mixup().begin(replace(facts(), task=task))
