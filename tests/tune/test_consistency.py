import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from burnish import catalog
from burnish.core import Row, describe
from burnish.errors import DataError, UsageError
from burnish.tasks import make
from burnish.train.finder.trials import _some
from burnish.train.parts import Facts
from burnish.train.prepare import encode_work
from burnish.train.texts import Texts
from burnish.tune._random_words import RandomWords, words_of
from burnish.tune._variants import changed, variants
from burnish.tune.consistency import Consistency, annealed, apart, threshold
from burnish.tune.fgm import Fgm
from burnish.tune.lora import LoRA
from burnish.tune.mixup import Mixup
from burnish.tune.rdrop import RDrop
from tests.tiny import RARE, tiny_rows, tiny_tokenizer, tiny_work
from tests.tune.short_runs import cut_equals_straight, is_plain_and_reloads, same_weights, tuned
from tests.tune.works import changes_training, same_under_accumulation

OBJECTIVES = ("cross_entropy", "binary_cross_entropy", "mean_squared_error")
HALF, THREE = [0.0, 0.0], [math.log(3), 0.0]  # probabilities 1/2, 1/2 and 3/4, 1/4


# -- the maths -------------------------------------------------------------------------------------


def test_a_divergence_worked_out_by_hand() -> None:
    """KL(3/4, 1/4 || 1/2, 1/2) = 3/4 ln 3/2 + 1/4 ln 1/2; the second row is not sure enough."""
    found, sure = apart("cross_entropy", torch.tensor([THREE, HALF]), torch.tensor([HALF, THREE]), 1.0, 0.6)
    assert found.tolist() == pytest.approx([0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.0])
    assert sure.tolist() == [1.0, 0.0]


def test_a_low_temperature_sharpens_what_is_learned_from() -> None:
    """At 1/2 the odds of 3 become 9; how sure it is does not change."""
    found, _ = apart("cross_entropy", torch.tensor([THREE]), torch.tensor([HALF]), 0.5, 0.7)
    assert float(found) == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert float(apart("cross_entropy", torch.tensor([THREE]), torch.tensor([HALF]), 0.5, 0.8)[0]) == 0.0


def test_each_yes_or_no_counts_by_itself() -> None:
    """The first label moves from 3/4 to 1/2; the second is at 1/2 and not sure."""
    plain, other = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, 5.0]])
    found, sure = apart("binary_cross_entropy", plain, other, 1.0, 0.6)
    assert float(found) == pytest.approx((0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2, rel=1e-5)
    assert float(sure) == 0.5


def test_numbers_are_apart_by_their_squared_difference() -> None:
    found, sure = apart("mean_squared_error", torch.tensor([[1.0]]), torch.tensor([[3.0]]), 0.5, 0.9)
    assert (float(found), float(sure)) == (4.0, 1.0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equal_answers_are_not_apart_and_no_gradient_is_wild(objective: str) -> None:
    plain = torch.tensor([[60.0, -60.0], [0.0, 0.0]])
    other = plain.clone().requires_grad_()
    found, _ = apart(objective, plain, other, 1.0, 0.0)
    found.sum().backward()
    assert torch.allclose(found, torch.zeros(2), atol=1e-6)
    assert other.grad is not None
    assert torch.allclose(other.grad, torch.zeros(2, 2), atol=1e-6)


@pytest.mark.parametrize("how", ["linear", "log", "exp"])
def test_the_threshold_rises_from_chance_to_one(how: str) -> None:
    values = [threshold(t, how, 4) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.25, abs=0.01)
    assert values[-1] == pytest.approx(1.0, abs=0.01)
    assert threshold(0.5, "linear", 4) == 0.625
    assert threshold(0.5, "exp", 4) < threshold(0.5, "linear", 4) < threshold(0.5, "log", 4)


def test_rows_that_are_right_already_are_left_out() -> None:
    outputs = torch.tensor([THREE, THREE, HALF])
    assert annealed(outputs, torch.tensor([0, 1, 0]), 0.6).tolist() == [0.0, 1.0, 1.0]


# -- texts -----------------------------------------------------------------------------------------


def test_random_words_leave_links_numbers_and_marks() -> None:
    row = Row("a", "see http://x.org/y now, 3 of 12a or b2b?")
    noise = RandomWords(("alpha", "beta"), 1.0)
    assert changed(row.text, noise.edits(row, random.Random(0))).count("http://x.org/y") == 1
    for seed in range(10):
        text = changed(row.text, noise.edits(row, random.Random(seed)))
        words = text.replace(",", "").replace("?", "").split()
        assert [w for w in words if w not in ("alpha", "beta")] == ["http://x.org/y", "3", "12a", "b2b"]


def test_at_least_one_word_changes_and_never_into_itself() -> None:
    noise = RandomWords(words_of(["one two", "one"]), 1e-9)
    assert noise.words == ("one", "two")
    for seed in range(10):
        (edit,) = noise.edits(Row("a", "one"), random.Random(seed))
        assert edit.text == "two"
    assert noise.edits(Row("a", "12 !"), random.Random(0)) == []
    assert RandomWords(("one",), 0.5).edits(Row("a", "one"), random.Random(0)) == []


def test_in_chinese_a_character_is_a_word() -> None:
    assert words_of(["好的 ok"]) == ("ok", "好", "的")
    text = changed("天气好", RandomWords(("坏",), 1.0).edits(Row("a", "天气好"), random.Random(0)) or [])
    assert text == "天气好"  # a single word to draw from is none
    assert changed("天气", RandomWords(("坏", "冷"), 1.0).edits(Row("a", "天气"), random.Random(1))).strip("坏冷") == ""


def test_versions_differ_from_their_text_and_do_not_depend_on_its_neighbours() -> None:
    texts, rows = Texts(tiny_tokenizer(), (), 32), tiny_rows(8)
    noise = RandomWords(words_of(row.text for row in rows), 0.3)
    whole, part = (variants(texts, some, noise, 4, 7, "x") for some in (rows, rows[3:5]))
    assert whole.changed[3] == part.changed[0]
    assert all(encoded not in versions for encoded, versions in zip(whole.plain, whole.changed, strict=True))
    assert whole.changed != variants(texts, rows, noise, 4, 8, "x").changed


def test_of_a_pair_either_side_is_changed() -> None:
    texts = Texts(tiny_tokenizer(), (), 32)
    found = variants(texts, [Row("a", "the film", "a story")], RandomWords(("zebra", "quartz"), 1.0), 12, 0, "x")
    zebra, quartz = tiny_tokenizer().convert_tokens_to_ids(["zebra", "quartz"])
    sides = [{i for i, token in enumerate(v["input_ids"]) if token in (zebra, quartz)} for v in found.changed[0]]
    assert {1, 2} in sides
    assert {4, 5} in sides
    assert {1, 2, 4, 5} not in sides


# -- in a run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_changes_training_whatever_the_task(objective: str) -> None:
    assert changes_training(objective, tweaks=(Consistency(weight=200.0, confidence=0.0),))


@pytest.mark.parametrize("idle", [Consistency(ratio=0.0), Consistency(weight=0.0)], ids=["ratio", "weight"])
def test_without_texts_or_weight_it_is_the_plain_run(idle: Consistency) -> None:
    assert same_weights(tuned(), tuned(tweaks=(idle,)))


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_accumulation_changes_nothing(ratio: float) -> None:
    assert same_under_accumulation("cross_entropy", tweaks=(Consistency(weight=3.0, ratio=ratio),))


@pytest.mark.parametrize("anneal", ["linear", "log", "exp"])
def test_annealing_leaves_rows_out(anneal: str) -> None:
    only = Consistency(weight=0.0, anneal=anneal)  # type: ignore[arg-type]
    made = tuned(tweaks=(only,))
    assert 0 < made.notes["annealed"] < 1
    assert not same_weights(made, tuned())
    assert same_under_accumulation("cross_entropy", tweaks=(only,))


def test_it_learns_from_texts_with_words_that_no_row_has(tmp_path) -> None:
    """On a CPU only the rows of the embedding table that are needed are trained; those of the texts are needed."""
    path, work = tmp_path / "more.txt", tiny_work()
    path.write_text("\n".join(f"{a} {b} {c}" for a in RARE for b in RARE for c in RARE))
    made = tuned(work, epochs=1, tweaks=(Consistency(texts=str(path), weight=10.0, ratio=2.0, confidence=0.0),))
    ids = work.tokenizer.convert_tokens_to_ids(list(RARE))
    before, after = (w.model.get_input_embeddings().weight[ids] for w in (work, made))
    assert made.notes["consistency"]["texts"] == 27
    assert (before != after).any(1).all()


def test_of_very_many_texts_as_many_are_read_as_the_run_can_see(tmp_path) -> None:
    path = tmp_path / "more.txt"
    path.write_text("\n".join(row.text for row in tiny_rows(400, seed=9)))
    made = tuned(epochs=1, tweaks=(Consistency(texts=str(path), ratio=1.0),))
    assert made.notes["consistency"]["texts"] == 6 * 12


def test_any_technique_that_edits_texts_may_change_them() -> None:
    built = catalog.build("tune/consistency", {"by": "augment/aeda:alpha=0.5", "weight": "2"})
    assert isinstance(built, Consistency)
    assert describe(built)["by"]["use"] == "augment/aeda"
    assert catalog.build("tune/consistency", json.loads(json.dumps(describe(built)))) == built
    made = tuned(epochs=1, tweaks=(built,))
    assert made.notes["consistency"]["divergence"] > 0
    assert not same_weights(made, tuned(epochs=1, tweaks=(Consistency(weight=2.0),)))


@pytest.mark.parametrize("at", [5])
def test_a_cut_ends_in_the_same_bits(at: int, tmp_path, monkeypatch) -> None:
    tweak = Consistency(anneal="linear", ratio=1.5)
    assert cut_equals_straight(at, tmp_path / "cut", monkeypatch, lambda: tuned(tweaks=(tweak,)))
    assert is_plain_and_reloads(tuned(epochs=1, tweaks=(tweak,)), tmp_path / "saved")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_the_gradients_of_the_pass_that_learns(precision: str) -> None:
    """A pass without gradients must not leave its half-precision weights to the one after it."""
    tweak = Consistency(weight=20.0, anneal="linear", confidence=0.0)
    full, half = (tuned(precision=p, epochs=1, lr=1e-6, tweaks=(tweak,)).notes["curve"] for p in ("fp32", precision))
    for a, b in zip(full, half, strict=True):
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=0.1)


@pytest.mark.parametrize("more", [(RDrop(),), (Fgm(),), (Mixup(),), (LoRA(),)], ids=lambda t: type(t[0]).__name__)
def test_it_works_together_with_others(more) -> None:
    tweak = Consistency(confidence=0.0)
    company = tuned(epochs=1, tweaks=(*more, tweak)).notes
    assert np.isfinite([p["loss"] for p in company["curve"]]).all()
    assert company["consistency"]["divergence"] > 0
    assert company["curve"] != tuned(epochs=1, tweaks=more).notes["curve"]


def test_the_rows_of_a_rate_finder_keep_their_texts() -> None:
    work = tiny_work()
    learn, _ = encode_work(work, 32)
    bench = SimpleNamespace(learn=learn, settings=SimpleNamespace(batch_size=4))
    some, _ = _some(bench, 3, 1)
    assert some.texts is not None
    assert some.texts.encode(some.texts.rows) == some.encoded
    assert len(some.encoded) == 12


# -- what cannot be --------------------------------------------------------------------------------


def test_texts_that_cannot_be_changed_are_refused_before_the_run(tmp_path) -> None:
    path = tmp_path / "more.txt"
    path.write_text("1\n2\n3\n")
    with pytest.raises(DataError, match="none of 3 texts"):
        tuned(tweaks=(Consistency(texts=str(path)),))
    with pytest.raises(UsageError, match="texts="):
        tuned(tweaks=(Consistency(texts=str(tmp_path / "none")),))


def test_tasks_about_words_are_refused_before_the_run() -> None:
    task = SimpleNamespace(objective="word_cross_entropy", reads="words", name="tagging")
    with pytest.raises(UsageError, match="one answer a row"):
        Consistency().begin(Facts(task, np.zeros(2), 1, 1, 1, 1e-3, 0, torch.device("cpu")))


def test_rows_without_texts_and_numbers_with_annealing_are_refused() -> None:
    facts = Facts(make("regression"), np.zeros(2), 1, 1, 1, 1e-3, 0, torch.device("cpu"))
    with pytest.raises(UsageError, match="not known"):
        Consistency().begin(facts)
    with pytest.raises(UsageError, match="one label a row"):
        Consistency(anneal="linear").begin(replace(facts, texts=Texts(tiny_tokenizer(), tiny_rows(2), 8)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 0.0},
        {"weight": -1.0},
        {"ratio": math.inf},
        {"temperature": 0.0},
        {"confidence": 1.0},
        {"copies": 0},
        {"anneal": "square"},
        {"by": Fgm()},
    ],
)
def test_a_bad_setting_says_what_would_be_good(wrong) -> None:
    with pytest.raises(UsageError):
        Consistency(**wrong)
