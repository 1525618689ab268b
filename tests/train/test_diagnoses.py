"""Each diagnosis on diaries made up for it: it speaks where it should, and is silent on healthy ones."""

import math
from dataclasses import replace

import numpy as np
import pytest

from burnish.train import diagnoses, diagnoses_dev, diagnoses_rhythm
from burnish.train.case import Case, case_of, look_at
from burnish.train.diary import Diary
from burnish.train.readings import by_layer, fold_correlation, longer_warmup, slope_t

LN2 = math.log(2)
CASE = Case(steps=200, per_epoch=20, rows=320, lr=1e-4, classes=2, entropy=LN2, chance=LN2, usual=1e-4, warmup=0.1)
ALL = [
    *diagnoses.AT_WINDOWS, *diagnoses.AT_EVALUATIONS, *diagnoses.AT_THE_END, *diagnoses_dev.AT_EVALUATIONS,
    *diagnoses_dev.AT_THE_END, *diagnoses_rhythm.AT_EVALUATIONS,
]  # fmt: skip
LOOK = {
    "rows": 200, "score": 0.85, "error": 0.025, "baseline": 0.5, "entropy": LN2, "one_answer": 0.55, "majority": 0.5,
    "accuracy": 0.85, "mcc": 0.7, "macro_f1": 0.85, "sure_and_wrong": 0.7, "permuted": 0.85, "exchange": [],
    "stopped": False, "last": False, "valid_loss": 0.4,
}  # fmt: skip
GUESSING = {**LOOK, "score": 0.5, "accuracy": 0.5, "permuted": 0.5, "mcc": 0.0, "one_answer": 1.0}
LAYERS = [["embeddings", 0.1], ["0", 0.2], ["1", 0.3], ["head", 1.0]]


def diary_of(losses, *, norms=None, scores=(), looks=(), valid=None, layers=LAYERS, rates=None) -> Diary:
    """A diary with warmup over a tenth, then a line to zero; `looks` stand for the last evaluations."""
    n = len(losses)
    norms = [1.0] * n if norms is None else norms
    rates = [min((i + 1) / 20, (200 - i) / 180) * 1e-4 for i in range(n)] if rates is None else rates
    curve = [
        {"step": i + 1, "loss": float(losses[i]), "lr": float(rates[i]), "grad_norm": float(norms[i])} for i in range(n)
    ]
    valid = [0.4] * len(scores) if valid is None else valid
    evals = [
        {"step": 0, "epoch": 0.0, "valid_loss": float(v), "score": float(s)} for s, v in zip(scores, valid, strict=True)
    ]
    looks = [
        {**look, "valid_loss": e["valid_loss"]} for look, e in zip(looks, evals[len(evals) - len(looks) :], strict=True)
    ]
    found = [{"step": 10 * i, "norms": layers} for i in range(4)]
    return Diary(curve=curve, evals=evals, norms=list(map(float, norms)), looks=list(looks), layers=found, rows=["a"])


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, n)


def falling(n: int = 200, low: float = 0.05, seed: int = 0) -> np.ndarray:
    """A healthy loss: from ln 2 down, with the noise of batches, in proportion."""
    return (low + (LN2 - low) * np.exp(-np.arange(n) / 40)) * np.exp(0.25 * noise(n, seed))


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_said_of_healthy_runs(seed: int) -> None:
    losses = falling(seed=seed)
    scores, valid = 0.86 - 0.3 * 0.6 ** np.arange(10), 0.35 + 0.3 * 0.5 ** np.arange(10)
    for n in range(1, 201):
        k = n // 20
        looks = [{**LOOK, "score": s, "accuracy": s, "permuted": s, "last": k == 10} for s in scores[:k]]
        diary = diary_of(
            losses[:n], norms=np.exp(0.5 * noise(n, seed)), scores=scores[:k], looks=looks, valid=valid[:k]
        )
        for diagnose in diagnoses.AT_WINDOWS:
            assert diagnose(diary, CASE) is None, (n, diagnose.__name__)
    assert [d.__name__ for d in ALL if d(diary, CASE)] == []


def test_rate_too_high_when_the_loss_stays_above_the_start() -> None:
    found = diagnoses.rate_too_high(diary_of([LN2] * 20 + [1.1] * 40), CASE)
    assert found is not None
    assert (found.kind, found.factor) == ("restart", pytest.approx(1 / 3))
    assert found.warmup == pytest.approx(0.2)
    assert found.evidence["loss"] == pytest.approx(1.1)


def test_rate_too_high_when_what_was_learned_is_lost_goes_back() -> None:
    losses = [LN2] * 20 + [0.3] * 30 + [0.7] * 20
    found = diagnoses.rate_too_high(diary_of(losses, scores=[0.85], looks=[LOOK]), CASE)
    assert found is not None
    assert found.kind == "back"


def test_what_dev_has_forgotten_was_lost_to_the_rate() -> None:
    looks = [LOOK, *[{**GUESSING, "score": 0.52}] * 3]
    gone = diary_of([LN2] * 70, scores=[0.85, 0.5, 0.5, 0.52], valid=[0.4, 0.8, 0.7, 0.9], looks=looks)
    found = diagnoses.rate_too_high(gone, CASE)
    assert found is not None
    assert found.kind == "back"
    overfitted = diary_of([0.01] * 70, scores=[0.85, 0.5, 0.5, 0.52], valid=[0.4, 0.8, 0.7, 0.9], looks=looks)
    assert diagnoses.rate_too_high(overfitted, CASE) is None


def test_a_rate_far_above_the_usual_comes_down_at_once() -> None:
    far = replace(CASE, lr=3e-2)
    diary = diary_of([LN2] * 60, scores=[0.5], looks=[GUESSING])
    found = diagnoses.rate_too_high(diary, far)
    assert found is not None
    assert far.lr * found.factor == pytest.approx(3e-4)
    assert diagnoses.rate_too_high(diary, CASE) is None
    assert diagnoses.rate_too_high(diary, replace(far, usual=None)) is None


def test_a_failed_run_needs_both_the_level_and_the_vanished_gradient() -> None:
    gone = [["embeddings", 1e-9], ["0", 1e-5], ["1", 1e-3], ["head", 0.1]]
    stuck = diary_of([LN2] * 70, scores=[0.5], looks=[GUESSING], layers=gone)
    found = diagnoses.failed_run(stuck, CASE)
    assert found is not None
    assert (found.kind, found.head, found.factor) == ("restart", True, 1.0)
    assert diagnoses.failed_run(diary_of([LN2] * 70, scores=[0.5], looks=[GUESSING]), CASE) is None
    assert diagnoses.failed_run(diary_of([0.6] * 70, scores=[0.5], looks=[GUESSING], layers=gone), CASE) is None
    assert diagnoses.failed_run(diary_of([LN2] * 50, scores=[0.5], looks=[GUESSING], layers=gone), CASE) is None
    stuck.events = [{"did": "restart", "name": "failed run", "rate_factor": 1.0, "step": 70}]
    again = diagnoses.failed_run(stuck, CASE)
    assert again is not None
    assert again.factor == pytest.approx(1 / 3)
    assert again.warmup == pytest.approx(0.4)


def test_dead_layers_are_named() -> None:
    dead = [["embeddings", 0.1], ["0", 0.0], ["1", 0.3], ["head", 1.0]]
    found = diagnoses.dead_gradients(diary_of(falling(40), layers=dead), CASE)
    assert found is not None
    assert found.evidence["layers"] == ["0"]
    assert diagnoses.dead_gradients(diary_of(falling(40)), CASE) is None


def test_an_exploding_start_is_seen_in_the_first_loss_alone() -> None:
    found = diagnoses.exploding_start(diary_of([9.0]), CASE)
    assert found is not None
    assert found.head
    assert diagnoses.exploding_start(diary_of([0.8]), CASE) is None
    assert diagnoses.exploding_start(diary_of([9.0]), replace(CASE, plain=False)) is None
    assert diagnoses.exploding_start(diary_of([4.0]), replace(CASE, chance=1.0, entropy=1.0)) is None  # regression


def test_overflow_counts_skipped_steps() -> None:
    diary = diary_of(falling(30))
    diary.skipped = 20
    assert diagnoses.overflow(diary, CASE) is not None
    diary.skipped = 5
    assert diagnoses.overflow(diary, CASE) is None


def test_a_spike_is_said_with_its_rows_and_acted_on_only_when_it_does_not_heal() -> None:
    losses = list(falling(80))
    diary = diary_of([*losses, 5.0])
    diary.rows = ["data:7"]
    said = diagnoses.spike(diary, CASE)
    assert said is not None
    assert (said.kind, said.evidence["rows"]) == ("say", ["data:7"])
    event = {"step": 81, "did": "say", "name": "spike", "evidence": dict(said.evidence), "rate_factor": 1.0}
    for after, kind in ((0.1, None), (2.0, "back")):
        later = diary_of([*losses, 5.0, *[after] * 8])
        later.events = [event]
        found = diagnoses.spike(later, CASE)
        assert (found and found.kind) == kind


def test_a_hard_batch_late_in_training_is_no_spike() -> None:
    quiet = np.full(80, 0.01) * np.exp(0.3 * noise(80))
    assert diagnoses.spike(diary_of([*quiet, 0.5]), CASE) is None  # one row of 16 that is wrong


def test_saw_tooth_is_a_loss_that_repeats_itself_by_epoch() -> None:
    teeth = np.tile(np.linspace(0.2, 1.0, 20) ** 2 + 0.3 * (np.arange(20) % 3), 6) * np.exp(0.1 * noise(120))
    found = diagnoses_rhythm.saw_tooth(diary_of(teeth), CASE)
    assert found is not None
    assert found.evidence["period"] == 20
    assert diagnoses_rhythm.saw_tooth(diary_of(falling(120)), CASE) is None


def test_neighbouring_periods_correlate_only_when_they_are_alike() -> None:
    assert fold_correlation(np.tile([0.0, 1, 0, 2, 0, 3], 5), 6)[0] == pytest.approx(1.0)
    assert fold_correlation(np.arange(30.0), 6) == (0.0, 0.0)  # a line has no shape
    assert abs(fold_correlation(noise(600), 20)[1]) < 4


def test_steps_at_the_ends_of_epochs() -> None:
    stairs = np.repeat([0.7, 0.5, 0.3, 0.15], 20) + 0.02 * noise(80)
    found = diagnoses_rhythm.epoch_steps(diary_of(stairs), CASE)
    assert found is not None
    assert found.kind == "say"
    assert diagnoses_rhythm.epoch_steps(diary_of(np.linspace(0.7, 0.1, 80) + 0.02 * noise(80)), CASE) is None


def test_rate_too_low_is_a_loss_that_is_high_and_still_falls() -> None:
    slow = np.linspace(LN2, 0.5, 200) + 0.02 * noise(200)
    found = diagnoses.rate_too_low(diary_of(slow, scores=[0.7], valid=[0.52], looks=[LOOK]), CASE)
    assert found is not None
    assert diagnoses.rate_too_low(diary_of(falling(), scores=[0.85], valid=[0.4], looks=[LOOK]), CASE) is None
    flat = diary_of([LN2] * 200, scores=[0.5], valid=[LN2], looks=[GUESSING])
    assert diagnoses.rate_too_low(flat, CASE) is None
    assert diagnoses.rate_too_low(flat, replace(CASE, lr=1e-6)) is not None


def test_a_rate_far_too_low_is_taken_to_the_usual_one_at_once() -> None:
    low = replace(CASE, lr=1e-6)
    flat = diary_of(LN2 + 0.01 * noise(60), scores=[0.5], valid=[LN2], looks=[GUESSING])
    found = diagnoses.rate_far_too_low(flat, low)
    assert found is not None
    assert (found.kind, found.factor) == ("restart", pytest.approx(100))
    assert diagnoses.rate_far_too_low(flat, CASE) is None  # it is not the rate
    assert diagnoses.rate_far_too_low(diary_of(falling()[:60], scores=[0.8], looks=[LOOK]), low) is None  # it learns
    assert diagnoses.rate_far_too_low(diary_of(LN2 + 0.01 * noise(10)), low) is None  # too early to say


def test_underfit_is_a_loss_that_is_high_and_flat_on_both_sides() -> None:
    high = np.concatenate([np.linspace(LN2, 0.5, 60), np.full(140, 0.5)]) + 0.02 * noise(200)
    assert diagnoses.underfit(diary_of(high, scores=[0.75], valid=[0.5], looks=[LOOK]), CASE) is not None
    assert diagnoses.underfit(diary_of(falling(), scores=[0.85], valid=[0.4], looks=[LOOK]), CASE) is None
    assert diagnoses.underfit(diary_of(high, scores=[0.75], valid=[0.7], looks=[LOOK]), CASE) is None


# -- the validation rows -----------------------------------------------------------------------------------


def plateau_diary(n: int, **look: object) -> Diary:
    looks = [GUESSING, GUESSING, {**GUESSING, **look}]
    return diary_of([LN2] * n, scores=[0.5] * 3, valid=[LN2, LN2 + 0.01, LN2], looks=looks)


def test_a_plateau_begins_again_when_it_had_its_time() -> None:
    found = diagnoses_dev.plateau(plateau_diary(80), CASE)
    assert found is not None
    assert (found.kind, found.head) == ("restart", True)
    assert diagnoses_dev.plateau(plateau_diary(35), CASE) is None


def test_a_plateau_that_patience_would_end_too_early_goes_on() -> None:
    early = plateau_diary(35, stopped=True, last=True)
    found = diagnoses_dev.plateau(early, CASE)
    assert found is not None
    assert found.kind == "on"
    early.evals = [{**e, "valid_loss": LN2} for e in early.evals]  # nothing moves: waiting is in vain
    assert diagnoses_dev.plateau(early, CASE) is None
    slow = plateau_diary(80, stopped=True, last=True)
    slow.curve = diary_of(np.linspace(LN2, LN2 - 0.02, 80)).curve
    found = diagnoses_dev.plateau(slow, CASE)
    assert found is not None
    assert found.kind == "on"


def test_a_rare_label_asks_for_weights_and_not_for_another_seed() -> None:
    found = diagnoses_dev.plateau(plateau_diary(200, majority=0.99, last=True), CASE)
    assert found is not None
    assert found.kind == "say"
    assert "class_weights" in found.advice


def test_a_rate_far_too_low_is_no_plateau() -> None:
    assert diagnoses_dev.plateau(plateau_diary(80), replace(CASE, lr=1e-6)) is None


def overfitted(scores, last: bool = False) -> Diary:
    looks = [{**LOOK, "score": s, "last": last} for s in scores]
    return diary_of([LN2] * 20 + [0.02] * 100, scores=scores, valid=[0.4, 0.35, 0.5, 0.55, 0.6], looks=looks)


def test_overfit_stops_only_when_loss_and_score_are_both_worse() -> None:
    both = diagnoses_dev.overfit(overfitted([0.8, 0.88, 0.8, 0.79, 0.78]), CASE)
    assert both is not None
    assert both.kind == "stop"
    assert diagnoses_dev.overfit(overfitted([0.8, 0.85, 0.86, 0.86, 0.87]), CASE) is None
    told = diagnoses_dev.overfit(overfitted([0.8, 0.85, 0.86, 0.86, 0.87], last=True), CASE)
    assert told is not None
    assert (told.kind, told.name) == ("say", "overfit in the loss")


def test_exchanged_labels_are_named() -> None:
    look = {
        **LOOK,
        "accuracy": 0.15,
        "score": 0.15,
        "permuted": 0.85,
        "mcc": -0.7,
        "exchange": [["a", "b"], ["b", "a"]],
    }
    found = diagnoses_dev.wrong_label_map(diary_of([0.1] * 60, scores=[0.15], valid=[2.0], looks=[look]), CASE)
    assert found is not None
    assert "a = b" in found.why
    unlearned = diary_of([LN2] * 60, scores=[0.15], valid=[2.0], looks=[look])
    assert diagnoses_dev.wrong_label_map(unlearned, CASE) is None


def test_labels_that_have_nothing_to_do_with_the_texts() -> None:
    look = {**LOOK, "accuracy": 0.5, "score": 0.5, "permuted": 0.52, "mcc": 0.01}

    def judged(look, loss=0.1, dev=2.0):
        diary = diary_of([loss] * 60, scores=[look["score"]] * 3, valid=[dev] * 3, looks=[look] * 3)
        return diagnoses_dev.wrong_label_map(diary, CASE)

    assert judged(look) is not None
    assert judged({**look, "mcc": 0.25, "accuracy": 0.62, "permuted": 0.62}) is None  # hard, and yet not random
    assert judged(look, loss=0.6, dev=0.75) is None  # too early to say
    assert judged({**look, "last": True}, loss=0.6, dev=0.75) is not None
    assert judged({**look, "one_answer": 1.0}) is None


def test_a_regression_that_goes_the_other_way() -> None:
    look = {k: v for k, v in LOOK.items() if k in ("rows", "score", "error", "baseline", "last")} | {
        "correlation": -0.6
    }
    case = replace(CASE, entropy=1.0, chance=1.0)
    assert diagnoses_dev.wrong_label_map(diary_of([0.1] * 60, scores=[-0.6], looks=[look]), case) is not None
    small = {**look, "correlation": -0.1}
    assert diagnoses_dev.wrong_label_map(diary_of([0.1] * 60, scores=[-0.1], looks=[small]), case) is None


def test_noisy_dev() -> None:
    noisy = diary_of(falling(), scores=[0.6, 0.5, 0.7, 0.5, 0.7, 0.5, 0.7], looks=[LOOK])
    assert diagnoses_dev.noisy_dev(noisy, CASE) is not None
    steady = diary_of(falling(), scores=[0.6, 0.8, 0.83, 0.84, 0.85, 0.84, 0.85], looks=[LOOK])
    assert diagnoses_dev.noisy_dev(steady, CASE) is None


def test_too_little_data_on_either_side() -> None:
    few = {**LOOK, "rows": 12, "score": 0.75}
    assert diagnoses_dev.too_little_data(diary_of(falling(), scores=[0.75], looks=[few]), CASE) is not None
    assert diagnoses_dev.too_little_data(diary_of(falling(), scores=[0.85], looks=[LOOK]), CASE) is None
    small = replace(CASE, rows=16)
    assert diagnoses_dev.too_little_data(diary_of(falling(), scores=[0.85], looks=[LOOK]), small) is not None


# -- what they read --------------------------------------------------------------------------------------


def test_the_entropy_is_the_loss_of_knowing_only_the_shares() -> None:
    from burnish.tasks import make

    case = _case(make("text-classification", labels=("a", "b", "c")), np.array([0] * 6 + [1] * 3 + [2]))
    assert case.entropy == pytest.approx(-(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1)))
    assert case.chance == pytest.approx(math.log(3))
    assert _case(make("regression"), np.zeros((4, 1))).entropy == 1.0
    many = _case(make("multi-label-classification", labels=("a", "b")), np.array([[1, 0], [0, 0]], dtype=np.float32))
    assert many.entropy == pytest.approx(LN2 / 2, abs=1e-3)  # one label in half of the rows, the other never


def _facts(task, targets):
    import torch

    from burnish.train.parts import Facts

    return Facts(task, targets, 10, 5, 2, 1e-3, 0, torch.device("cpu"))


def _case(task, targets) -> Case:
    return case_of(_facts(task, targets), plain=True, usual=None, warmup=0.1)


def test_a_look_finds_the_exchange_that_fits_best() -> None:
    from burnish.tasks import make

    task = make("text-classification", labels=("a", "b", "c"))
    targets = np.array([0, 0, 1, 1, 2, 2])
    outputs = 4.0 * np.eye(3)[[1, 1, 0, 0, 2, 2]]
    look = look_at(_facts(task, targets), outputs, targets, task.metrics(outputs, targets), 1 / 3)
    assert look["accuracy"] == pytest.approx(1 / 3)
    assert look["permuted"] == 1.0
    assert look["exchange"] == [["a", "b"], ["b", "a"]]
    assert look["sure_and_wrong"] > 0.9


@pytest.mark.parametrize("kind", ["multi-label-classification", "regression"])
def test_other_tasks_are_looked_at_too(kind: str) -> None:
    from burnish.tasks import make

    task = make(kind, labels=() if kind == "regression" else ("a", "b"))
    targets = np.random.default_rng(0).integers(0, 2, (20, task.width)).astype(np.float32)
    same = np.zeros((20, task.width))
    look = look_at(_facts(task, targets), same, targets, task.metrics(same, targets), task.score(same, targets))
    assert look["one_answer"] == 1.0
    assert all(math.isfinite(v) for v in look.values() if isinstance(v, float))


def test_layers_are_read_from_the_names_of_parameters() -> None:
    norms = {
        "bert.embeddings.word_embeddings.weight": 3.0,
        "bert.embeddings.LayerNorm.weight": 100.0,
        "bert.encoder.layer.0.attention.self.query.weight": 3.0,
        "bert.encoder.layer.0.output.dense.weight": 4.0,
        "bert.encoder.layer.0.output.dense.bias": 100.0,
        "bert.encoder.layer.10.output.dense.weight": 1.0,
        "bert.encoder.layer.2.output.dense.weight": 2.0,
        "classifier.weight": 0.5,
    }
    assert by_layer(norms) == [["embeddings", 3.0], ["0", 5.0], ["2", 2.0], ["10", 1.0], ["head", 0.5]]


def test_a_slope_is_measured_in_its_errors() -> None:
    assert slope_t(noise(100)) == pytest.approx(0.0, abs=3)
    assert slope_t(np.arange(50) * -0.1 + noise(50) * 0.1) < -10
    assert slope_t(np.ones(10)) == 0


def test_warmup_doubles_with_each_restart() -> None:
    diary = diary_of([1.0])
    assert longer_warmup(diary, replace(CASE, warmup=0.0)) == pytest.approx(0.1)
    diary.events = [{"did": "restart", "name": "x", "rate_factor": 1.0}] * 2
    assert longer_warmup(diary, CASE) == 0.5
