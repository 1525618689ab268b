"""The one sentence, and that it stays honest."""

from typing import Any

import pytest

from burnish.report.answer import answer, limits, speedup_of
from burnish.report.show import TIE

REFERENCE = {"steps": ["tune/finetune"], "size_bytes": 90_800_000, "p50_ms": 13.9, "p95_ms": 21.0}


def result(**changes: Any) -> dict[str, Any]:
    chosen = {
        "steps": ["tune/finetune", "compress/int8"],
        "engine": "onnx",
        "precision": "int8",
        "size_bytes": 23_100_000,
        "p50_ms": 2.5,
        "p95_ms": 4.1,
        "speedup": {"value": 5.6, "low": 5.0, "high": 6.0},
    }
    made: dict[str, Any] = {
        "metric": "accuracy",
        "reference": REFERENCE,
        "chosen": chosen,
        "drop": {"value": 0.2, "low": -0.9, "high": 1.1},
        "budget": {"met": True, "limits": {"max_size": 30_000_000, "max_p95_ms": 10, "max_drop": 1.0}},
    }
    return {**made, **changes}


def told(**changes: Any) -> str:
    return answer(result(**changes)).sentence.replace(TIE, " ")


def test_all_limits_met() -> None:
    assert told() == (
        "An int8 ONNX model of 23.1 MB answers in 2.5 ms (p95 4.1 ms), 5.6 × faster than the tuned float model, "
        "and loses 0.2 points of accuracy (95 % interval −0.9 to 1.1); all limits are met."
    )


def test_limits_that_are_missed_are_named_with_both_numbers() -> None:
    limits_asked = {"max_size": 10_000_000, "max_p95_ms": 10, "max_drop": 1.0}
    sentence = told(budget={"met": False, "limits": limits_asked})
    assert sentence.startswith("No candidate meets every limit. The nearest, an int8 ONNX model of 23.1 MB, answers")
    assert sentence.endswith("missed: size 23.1 MB, asked was at most 10 MB.")
    assert "all limits are met" not in sentence


def test_a_drop_of_nothing_is_told_with_what_it_may_hide() -> None:
    assert "loses no accuracy (95 % interval of the drop −3.8 to 3.8 points)" in told(
        drop={"value": 0.0, "low": -3.8, "high": 3.8}
    )


def test_a_baseline_that_is_no_worse_is_in_the_sentence() -> None:
    beats = {"name": "tfidf+logreg", "better": False, "p": 0.2, "gain": {"value": -12.0, "low": -25.0, "high": 1.6}}
    assert told(beats_baseline=beats).endswith(
        "all limits are met, but it is not shown to be better than tfidf+logreg."
    )
    assert told(beats_baseline={**beats, "better": True}).endswith("all limits are met.")


def test_a_gain_turns_its_interval_round() -> None:
    assert "gains 0.4 points of accuracy (95 % interval −0.5 to 1.3)" in told(
        drop={"value": -0.4, "low": -1.3, "high": 0.5}
    )


@pytest.mark.parametrize(
    ("speed", "words"),
    [(1.03, "as fast as the tuned float model"), (0.5, "2.0 × slower than"), (3.0, "3.0 × faster than")],
)
def test_slower_is_never_called_faster(speed: float, words: str) -> None:
    assert words in told(chosen={**result()["chosen"], "speedup": {"value": speed}})


def test_the_float_model_itself_is_not_sold_as_an_optimisation() -> None:
    itself = {**REFERENCE, "engine": "torch", "precision": "fp32", "speedup": {"value": 1.0}}
    sentence = told(chosen=itself, drop={"value": 0.0, "low": 0.0, "high": 0.0})
    assert sentence.startswith("The tuned float model itself is the answer")
    assert "faster" not in sentence


def test_strict_judges_by_the_upper_bound() -> None:
    budget = {"met": False, "limits": {"max_drop": 1.0, "strict": True}}
    (only,) = limits(result(budget=budget))
    assert only.met is False
    assert only.found == "1.1"
    loose = limits(result(budget={"met": True, "limits": {"max_drop": 1.0}}))[0]
    assert loose.met is True


def test_the_drop_is_judged_on_the_rows_that_chose_and_says_so() -> None:
    line = {"status": "chosen", "drop": {"value": 2.0, "low": 1.0, "high": 3.0}}
    limit = next(one for one in limits(result(candidates=[line])) if one.key == "max_drop")
    assert limit.met is False
    assert limit.told == "limit 1, missed on the validation rows"


def test_warnings_of_the_run_become_cautions() -> None:
    assert answer(result(warnings=["the baseline is no worse"])).cautions == ("The baseline is no worse.",)


def test_an_unfinished_run_says_so() -> None:
    found = answer({})
    assert found.met is None
    assert "not finished" in found.sentence


def test_without_a_measured_ratio_the_medians_speak() -> None:
    assert speedup_of(result(), {"p50_ms": 13.9}) == pytest.approx(1.0)
