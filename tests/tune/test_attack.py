"""What every attack on the embeddings promises, whichever it is."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from burnish.core import Work
from burnish.errors import UsageError
from burnish.train.batches import collate
from burnish.train.evaluate import pad_id_of
from burnish.train.texts import Texts
from burnish.train.tweak import Remember, inputs_of
from burnish.tune._attack import _gradients, clean, lengths, pulled_in, unit
from burnish.tune.checkpointing import Checkpointing
from burnish.tune.fgm import Fgm
from burnish.tune.fgsm import Fgsm
from burnish.tune.freelb import FreeLb
from burnish.tune.lora import LoRA
from burnish.tune.pgd import Pgd
from burnish.tune.rdrop import RDrop
from tests.families import KINDS, family_work
from tests.tiny import tiny_work
from tests.train.test_accumulation import FAMILIES, TOGETHER, UNEVEN, step, tiny
from tests.tune.short_runs import HeadOnly, cut_equals_straight, is_plain_and_reloads, same_weights, tuned
from tests.tune.test_rdrop import facts

ATTACKS = (Fgm(), Fgsm(), Pgd(), FreeLb())
PASSES = (2, 2, 4, 3)
WIDE = (Fgm(epsilon=3.0), Fgsm(epsilon=0.2), Pgd(epsilon=3.0, alpha=1.0), FreeLb(step=1.0, init=1.0, max_norm=1.5))
named = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: type(a).__name__)
wide = pytest.mark.parametrize("attack", WIDE, ids=lambda a: type(a).__name__)


# -- the maths -------------------------------------------------------------------------------------


def test_a_unit_worked_out_by_hand() -> None:
    """Two tokens of two numbers: 3, 0 and 0, 4 have length 5 together."""
    x = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert unit(x).tolist() == [[[pytest.approx(0.6), 0.0], [0.0, pytest.approx(0.8)]], [[0.0, 0.0], [0.0, 0.0]]]


@pytest.mark.parametrize("size", [1e-37, 1e-25, 1.0, 1e30])
def test_a_unit_of_any_gradient_has_length_one(size: float) -> None:
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * size
    assert lengths(unit(x)).flatten().tolist() == pytest.approx([1.0] * 3, rel=1e-5)


@given(st.floats(0.0, 5.0), st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6))
@settings(max_examples=60, deadline=None)
def test_nothing_leaves_the_ball_and_what_is_inside_stays(radius: float, numbers: list[float]) -> None:
    x = torch.tensor(numbers).reshape(1, 3, 2)
    found = pulled_in(x, radius)
    assert float(lengths(found)) <= radius * (1 + 1e-5)
    assert float(lengths(x)) > radius or torch.equal(found, x)


def test_gradients_of_padding_and_of_rows_that_are_not_finite_are_left_out() -> None:
    gradient = torch.tensor([[[1.0], [2.0]], [[math.nan], [1.0]], [[1.0], [math.inf]]])
    real = torch.tensor([[True, False], [True, True], [True, True]])
    assert clean(gradient, real).flatten(1).tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


# -- a model whose gradient can be written down ----------------------------------------------------


class Linear(nn.Module):
    """Its loss is the sum of w . e over all tokens, so the gradient at each token is w."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.arange(12.0).reshape(6, 2) / 8, freeze=False)
        self.w = nn.Parameter(torch.tensor([3.0, 4.0]))
        self.passes: list[torch.Tensor] = []

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, input_ids, attention_mask=None):
        seen_BSH = self.table(input_ids)
        self.passes.append(seen_BSH.detach() - self.table.weight[input_ids].detach())
        return SimpleNamespace(logits=(seen_BSH @ self.w).sum(1, keepdim=True))


def linear_loss(model, batch):
    return (model(**inputs_of(batch)).logits[:, 0] * batch["weights"]).sum()


def linear_batch(*rows, weights=None):
    ids = torch.tensor(rows)
    given = torch.ones(len(rows)) if weights is None else torch.tensor(weights)
    return {"input_ids": ids, "targets": torch.zeros(len(rows)), "weights": given}


def live(attack, special=(0, 1)):
    """On a vocabulary in which 0 is padding and 1 a border."""
    tokenizer = SimpleNamespace(
        all_special_ids=[*special, 5], pad_token_id=0, bos_token_id=None, eos_token_id=1, unk_token_id=5
    )
    return attack.begin(replace(facts(), texts=Texts(tokenizer, [], 8)))


def test_a_row_without_a_gradient_stays_where_it_is() -> None:
    for attack in ATTACKS[:3]:
        model = Linear()
        loss = live(attack).loss(model, linear_batch([2, 3], [2, 3], weights=[0.0, 1.0]), linear_loss)
        loss.backward()
        assert all(not seen[0].any() for seen in model.passes)
        assert model.passes[-1][1].any()
        assert torch.isfinite(model.w.grad).all()


def test_what_earlier_micro_batches_left_in_the_gradients_stays() -> None:
    for attack in ATTACKS:
        alone, model = Linear(), Linear()
        model.load_state_dict(alone.state_dict())
        live(attack).loss(alone, linear_batch([2, 3]), linear_loss).backward()
        model.w.grad = torch.tensor([100.0, -100.0])
        live(attack).loss(model, linear_batch([2, 3]), linear_loss).backward()
        assert (model.w.grad - alone.w.grad).tolist() == pytest.approx([100.0, -100.0])


def test_without_gradients_it_only_looks() -> None:
    model = Linear()
    with torch.no_grad():
        live(Fgm()).loss(model, linear_batch([2, 3]), linear_loss)
    assert len(model.passes) == 1


def test_who_remembers_further_out_has_the_last_pass_with_its_gradients() -> None:
    said = Remember(Linear())
    loss = live(Fgm()).loss(said, linear_batch([2, 3]), linear_loss)
    (loss + said.outputs_BC.sum()).backward()
    assert said.model.w.grad is not None


# -- half precision --------------------------------------------------------------------------------


def test_in_fp16_small_gradients_do_not_vanish_and_large_ones_do_not_burst() -> None:
    tiny_one = 2.0**-30  # below what fp16 can say, which is 2^-24
    with torch.autocast("cpu", torch.float16):
        x = torch.ones(1, 1, requires_grad=True)
        (bare,) = torch.autograd.grad((torch.mm(x, torch.ones(1, 1)).float() * tiny_one).sum(), [x])
        assert float(bare) == 0.0
        x = torch.ones(1, 1, requires_grad=True)
        (kept,) = _gradients((torch.mm(x, torch.ones(1, 1)).float() * tiny_one).sum(), [x])
        assert float(kept) == tiny_one
        (large,) = _gradients((torch.mm(x, torch.ones(1, 1)).float() * 4096.0).sum(), [x])
        assert float(large) == 4096.0


@pytest.mark.parametrize("attack", ATTACKS[::3], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_makes_the_same_attack(attack, precision: str) -> None:
    full, half = (tuned(precision=p, epochs=1, tweaks=(attack,)) for p in ("fp32", precision))
    assert half.notes["attack_rise"] == pytest.approx(full.notes["attack_rise"], rel=0.15)
    for a, b in zip(full.notes["curve"], half.notes["curve"], strict=True):
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=0.05)


# -- every family ----------------------------------------------------------------------------------


def batch_of(work: Work, rows: int = 6):
    texts = Texts(work.tokenizer, work.train, 32)
    batch = collate(texts.encode(work.train[:rows]), pad_id_of(work.tokenizer))
    extra = {"targets": torch.arange(rows) % 2, "rows": torch.arange(rows), "weights": torch.ones(rows)}
    return texts, {**batch, **extra}


def row_losses(model, batch):
    return nn.functional.cross_entropy(model(**inputs_of(batch)).logits.float(), batch["targets"], reduction="sum")


@wide
@pytest.mark.parametrize("kind", KINDS)
def test_real_tokens_are_moved_and_no_others(kind: str, attack) -> None:
    work = family_work(kind)
    texts, batch = batch_of(work)
    run, model = attack.begin(replace(facts(), texts=texts)), work.model
    run.prepare(model)
    table, seen = model.get_input_embeddings(), []

    def spied(model, batch):
        handle = table.register_forward_hook(
            lambda _, __, out: seen.append(out.detach() - table.weight[batch["input_ids"]])
        )
        found = row_losses(model, batch)
        handle.remove()
        return found

    run.loss(model, batch, spied).backward()
    real_BS = ~torch.isin(batch["input_ids"], torch.tensor(texts.special))
    assert 0 < real_BS.sum() < batch["attention_mask"].sum() < batch["attention_mask"].numel()
    moved = seen[-1]
    assert (moved[real_BS].abs().sum(1) > 0).all()
    assert not moved[~real_BS].any()
    if not isinstance(attack, Fgsm):
        radius = {Fgm: 3.0, Pgd: 3.0, FreeLb: 1.5}[type(attack)]
        assert (lengths(moved) <= radius * 1.001).all()
        assert (lengths(moved) > radius * 0.3).all()
    assert not table._forward_hooks


def known(special=(1, 2, 3)):
    """The rows of the accumulation test, with a tokenizer whose padding, 1, and borders are known."""
    tokenizer = SimpleNamespace(
        all_special_ids=list(special), pad_token_id=1, bos_token_id=2, eos_token_id=3, unk_token_id=None
    )
    return replace(UNEVEN, texts=Texts(tokenizer, [], 18))


@pytest.mark.parametrize(("family", "attack"), list(zip(FAMILIES, itertools.cycle(ATTACKS[::-1]))), ids=str)
def test_how_a_step_is_cut_changes_nothing(family: str, attack) -> None:
    """16 x 1 against 1 x 16, of which no row has padding."""
    loss, norm, gradient = step(tiny(family), learn=known(), tweaks=[attack], **TOGETHER)
    cut_loss, cut_norm, cut_gradient = step(tiny(family), 16, learn=known(), tweaks=[attack], **TOGETHER)
    assert cut_loss == pytest.approx(loss, rel=1e-4)
    assert cut_norm == pytest.approx(norm, rel=1e-4)
    assert float((cut_gradient - gradient).norm()) < 1e-4 * norm


@wide
def test_it_raises_the_loss(attack) -> None:
    notes = tuned(epochs=1, tweaks=(attack,), lr=1e-6).notes
    assert notes["attack_rise"] > 1e-5


# -- in a run --------------------------------------------------------------------------------------


@named
def test_it_changes_training(attack, tmp_path) -> None:
    plain, made = tuned(epochs=1), tuned(epochs=1, tweaks=(attack,))
    assert not same_weights(plain, made)
    assert made.notes["curve"][0]["grad_norm"] != plain.notes["curve"][0]["grad_norm"]
    assert is_plain_and_reloads(made, tmp_path)


@pytest.mark.parametrize(
    "idle",
    [Fgm(epsilon=0.0), Fgm(share=0.0), Fgsm(epsilon=0.0), Pgd(epsilon=0.0), Pgd(share=0.0), FreeLb(step=0.0, init=0.0)],
    ids=str,
)
def test_an_attack_of_nothing_is_the_plain_run(idle) -> None:
    assert same_weights(tuned(), tuned(tweaks=(idle,)))


@pytest.mark.parametrize("small", [Fgm(epsilon=1e-20), Pgd(epsilon=1e-20), FreeLb(step=1e-20, init=0.0)], ids=str)
def test_all_passes_draw_the_same_dropout_and_no_more_than_one(small) -> None:
    """An attack too small to see leaves every step where dropout alone had led it, to the rounding of sums."""
    plain, made = tuned(), tuned(tweaks=(small,))
    for a, b in zip(plain.notes["curve"], made.notes["curve"], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=2e-5)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)


@pytest.mark.parametrize(("attack", "passes"), list(zip(ATTACKS, PASSES, strict=True)), ids=lambda x: str(x)[:5])
def test_it_takes_as_many_passes_as_its_page_says(attack, passes: int) -> None:
    model = Linear()
    live(attack).loss(model, linear_batch([2, 3]), linear_loss)
    assert len(model.passes) == passes


@pytest.mark.parametrize("at", [5])
def test_a_cut_ends_in_the_same_bits(at: int, tmp_path, monkeypatch) -> None:
    """FreeLB's random start is a function of the step as well."""
    assert cut_equals_straight(at, tmp_path, monkeypatch, lambda: tuned(tweaks=(FreeLb(),)))


@pytest.mark.parametrize("attack", WIDE[::3], ids=lambda a: type(a).__name__)
def test_it_works_with_an_adapter_and_with_frozen_embeddings(attack) -> None:
    def learned(**how):
        return tuned(epochs=1, **how).notes

    for how, tweaks in (({}, (LoRA(),)), ({"rates": (HeadOnly(),)}, ())):
        plain, made = learned(**how, tweaks=tweaks), learned(**how, tweaks=(*tweaks, attack))
        assert made["attack_rise"] > 0
        assert made["curve"][0]["grad_norm"] != plain["curve"][0]["grad_norm"]


def test_recomputed_layers_give_the_same_attack() -> None:
    a, b = (tuned(epochs=1, tweaks=(Fgm(), *more)).notes for more in ((), (Checkpointing(),)))
    assert a["curve"] == b["curve"]


def test_it_works_on_either_side_of_rdrop() -> None:
    outer, inner = (tuned(epochs=1, tweaks=t).notes for t in ((Fgm(), RDrop()), (RDrop(), Fgm())))
    assert all(n["attack_rise"] > 0 and n["rdrop_divergence"] > 0 for n in (outer, inner))


# -- what cannot be --------------------------------------------------------------------------------


def test_two_attacks_are_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match=r"one attack .*in a run"):
        tuned(tweaks=(Fgm(), FreeLb()))


def test_a_model_without_word_embeddings_is_refused_before_the_run() -> None:
    work = tiny_work()
    with pytest.raises(UsageError, match="word embeddings"):
        Fgm().begin(facts()).prepare(work.model.classifier)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Fgm(epsilon=-1.0),
        lambda: Fgm(share=1.5),
        lambda: Fgsm(epsilon=math.nan),
        lambda: Pgd(alpha=0.0),
        lambda: Pgd(steps=0),
        lambda: FreeLb(step=-0.1),
        lambda: FreeLb(max_norm=-1.0),
    ],
)
def test_a_bad_setting_says_what_would_be_good(wrong) -> None:
    with pytest.raises(UsageError, match=r"or more|above|\.\."):
        wrong()
