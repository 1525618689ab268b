"""Steps instead of epochs: exactly so many, with the schedule and the evaluations spread over them."""

from random import Random

import pytest

from burnish.errors import UsageError
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_work
from tests.tune.short_runs import cut_equals_straight, same_weights, tuned


@pytest.mark.parametrize("steps", [1, 4, 6, 15])  # 6 are an epoch
def test_a_run_has_exactly_so_many_steps_and_ends_at_rate_nought(steps: int) -> None:
    made = tuned(steps=steps, epochs=None)
    assert made.notes["steps"] == steps == len(made.notes["curve"])
    rates = [point["lr"] for point in made.notes["curve"]]
    assert rates[-1] == pytest.approx(3e-3 / max(steps - 1, 1), rel=0.7) or steps == 1
    assert made.notes["evals"][-1]["step"] == steps


def test_whole_epochs_told_as_steps_are_the_same_run() -> None:
    a, b = tuned(epochs=2, batch_size=16), tuned(epochs=2, batch_size=16, steps=8)
    assert same_weights(a, b)
    assert [e["step"] for e in a.notes["evals"]] == [e["step"] for e in b.notes["evals"]] == [2, 4, 6, 8]


def test_epochs_say_how_often_it_is_evaluated() -> None:
    """Four times in 20 steps, however many rows there are."""
    few = tuned(epochs=2, steps=20, patience=0)
    many = tuned(tiny_work(train=120), epochs=2, steps=20, patience=0)
    assert [e["step"] for e in few.notes["evals"]] == [e["step"] for e in many.notes["evals"]] == [5, 10, 15, 20]


def test_warmup_in_steps_is_a_number_of_these_steps() -> None:
    rates = [p["lr"] for p in tuned(steps=8, warmup=4.0).notes["curve"]]
    assert rates.index(max(rates)) in (3, 4)


def test_a_run_in_steps_that_was_killed_ends_in_the_same_bits(tmp_path, monkeypatch) -> None:
    assert cut_equals_straight(5, tmp_path, monkeypatch, lambda: tuned(steps=10))


def test_no_step_is_refused() -> None:
    with pytest.raises(UsageError, match="steps 0"):
        FineTune(steps=0)(tiny_work(), Random(0))
