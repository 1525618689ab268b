"""Inferring: names first, content second, and a question instead of a guess where two columns fit."""

from typing import Any

import pytest

from burnish.data.infer import Columns, infer
from burnish.data.kind import CLASSIFY, KINDS, MULTI_LABEL, REGRESS, kind_of, labels_of
from burnish.data.table import Table
from burnish.errors import DataError, UsageError
from burnish.tasks import kinds

SENTENCES = [f"this is sentence number {i} of the film reviews" for i in range(40)]
OTHERS = [f"another remark that comes {i} times to mind" for i in range(40)]
LABELS = ["pos", "neg"] * 20
NUMBERS = [str(i / 7) for i in range(40)]


def table(*, lines: bool = True, **columns: list[Any]) -> Table:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Table(tuple(columns), rows, "reviews.csv", "", range(2, len(rows) + 2) if lines else ())


def chosen(found: Columns) -> tuple[str, str | None, str, str]:
    return found.text, found.pair, found.target, found.kind


def test_task_names_are_those_of_the_tasks() -> None:
    assert sorted(KINDS) == sorted(kinds())


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": SENTENCES, "label": LABELS}, ("text", None, "label", CLASSIFY)),
        ({"label": LABELS, "Review": SENTENCES}, ("Review", None, "label", CLASSIFY)),
        ({"id": range(40), "foo": SENTENCES, "bar": LABELS}, ("foo", None, "bar", CLASSIFY)),
        ({"sentence1": SENTENCES, "sentence2": OTHERS, "label": LABELS}, ("sentence1", "sentence2", "label", CLASSIFY)),
        ({"premise": SENTENCES, "hypothesis": OTHERS, "gold": LABELS}, ("premise", "hypothesis", "gold", CLASSIFY)),
        ({"left": SENTENCES, "right": OTHERS, "label": LABELS}, ("left", "right", "label", CLASSIFY)),
        ({"text": SENTENCES, "explanation": OTHERS, "label": LABELS}, ("text", None, "label", CLASSIFY)),
        ({"text": SENTENCES, "valence": NUMBERS}, ("text", None, "valence", REGRESS)),
        ({"text": SENTENCES, "price": NUMBERS}, ("text", None, "price", REGRESS)),
        ({"text": SENTENCES, "stars": ["1", "2", "3", "4"] * 10}, ("text", None, "stars", CLASSIFY)),
        ({"text": SENTENCES, "label": [["a"], ["a", "b"]] * 20}, ("text", None, "label", MULTI_LABEL)),
        ({"text": SENTENCES, "label": ["a|b", "a", "b|c", "c"] * 10}, ("text", None, "label", MULTI_LABEL)),
        ({"word": ["ja", "nein"] * 20, "label": LABELS}, ("word", None, "label", CLASSIFY)),
        ({"评论": [f"这本书很好看第{i}次" for i in range(40)], "情感": LABELS}, ("评论", None, "情感", CLASSIFY)),
    ],
)
def test_columns_and_task_are_found(columns: dict[str, list[Any]], expected: tuple[Any, ...]) -> None:
    found = infer(table(**columns))
    assert chosen(found) == expected
    assert len(found.reasons) >= 3  # text, target, task: each with its reason


def test_given_names_win() -> None:
    data = table(text=SENTENCES, other=OTHERS, label=LABELS, score=NUMBERS)
    assert chosen(infer(data, text="other", target="score")) == ("other", None, "score", REGRESS)
    pairs = table(sentence1=SENTENCES, sentence2=OTHERS, label=LABELS)
    assert chosen(infer(pairs, text="sentence1")) == ("sentence1", None, "label", CLASSIFY)
    assert chosen(infer(pairs, text="sentence2", pair="sentence1")) == ("sentence2", "sentence1", "label", CLASSIFY)
    assert chosen(infer(data, pair="other")) == ("text", "other", "label", CLASSIFY)
    assert chosen(infer(data, text="text", target="label", task=CLASSIFY)) == ("text", None, "label", CLASSIFY)


def test_given_task_wins() -> None:
    data = table(text=SENTENCES, stars=["1", "2", "3", "4"] * 10)
    assert infer(data, task=REGRESS).kind == REGRESS
    found = infer(table(text=SENTENCES, tags=["a,b", "a", "c", "b,c"] * 10), target="tags", task=MULTI_LABEL)
    assert (found.kind, found.separator) == (MULTI_LABEL, ",")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0", "1"] * 20, CLASSIFY),
        ([0, 1] * 20, CLASSIFY),
        ([True, False] * 20, CLASSIFY),
        ([0.5, 1.0, 1.5] * 20, CLASSIFY),
        (list(range(77)) * 10, CLASSIFY),  # class numbers
        ([i * 13 for i in range(77)] * 10, REGRESS),  # prices
        ([i / 10 for i in range(50)], REGRESS),
        (["1", "2", "x"] * 9, CLASSIFY),
        (["rock|pop", "jazz|soul"] * 20, CLASSIFY),  # no part stands in two values: two names, no lists
        (["a;b", "b", "a", "a;c", "c"] * 9, MULTI_LABEL),
        (["a, b", "b, c", "a"] * 20, CLASSIFY),  # a comma is too common in names
        ([f"a remark; in {i} parts; of its own" for i in range(30)], CLASSIFY),
    ],
)
def test_kind_follows_the_values(values: list[Any], kind: str) -> None:
    assert kind_of(values)[0] == kind


def test_a_column_that_is_not_there_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'labl' is not in reviews\.csv") as error:
        infer(table(text=SENTENCES, label=LABELS), target="labl")
    assert "--target label" in str(error.value)
    assert "one of: text, label" in str(error.value)
    assert error.value.exit_code == 2


def test_a_task_that_is_not_there_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="--task regression"):
        infer(table(text=SENTENCES, label=LABELS), task="regresion")


def test_one_column_for_two_uses_is_refused() -> None:
    with pytest.raises(UsageError, match="--text and for --target"):
        infer(table(text=SENTENCES, label=LABELS), text="text", target="text")


def test_two_possible_targets_are_asked_about() -> None:
    with pytest.raises(UsageError, match="several columns") as error:
        infer(table(text=SENTENCES, mood=LABELS, tone=LABELS))
    assert "mood, tone" in str(error.value)
    assert "--target" in str(error.value)


@pytest.mark.parametrize("label", ["pos", 1, 0.5, ["a"]])
def test_one_class_only(label: Any) -> None:
    with pytest.raises(DataError, match="every row of 'label' is"):
        infer(table(text=SENTENCES, label=[label] * 40))


def test_a_constant_number_cannot_be_regressed() -> None:
    with pytest.raises(DataError, match="at least two different values"):
        infer(table(text=SENTENCES, label=["3"] * 40), task=REGRESS)


def test_too_few_rows() -> None:
    with pytest.raises(DataError, match="has 4 rows"):
        infer(table(text=SENTENCES[:4], label=LABELS[:4]))


def test_empty_target() -> None:
    with pytest.raises(DataError, match="is empty"):
        infer(table(text=SENTENCES, label=[""] * 40))


def test_a_target_of_names_is_no_label() -> None:
    with pytest.raises(DataError, match="40 different values in 40 rows"):
        infer(table(text=SENTENCES, label=[f"user {i}" for i in range(40)]))


def test_words_cannot_be_regressed_and_the_line_is_named() -> None:
    with pytest.raises(DataError, match=r"line 3: 'n/a'"):
        infer(table(text=SENTENCES, label=["1.5", "n/a", *NUMBERS[2:]]), task=REGRESS)


def test_lists_are_not_single_labels() -> None:
    with pytest.raises(DataError, match="--task multi-label-classification"):
        infer(table(text=SENTENCES, label=[["a"], ["b"]] * 20), task=CLASSIFY)


def test_a_file_without_header_is_recognised() -> None:
    rows = table(**{"the first film is fine": SENTENCES, "pos": LABELS})
    with pytest.raises(DataError, match="looks like a row"):
        infer(rows)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["pos", "neg"], ("neg", "pos")),
        (["equivalent", "not_equivalent"], ("not_equivalent", "equivalent")),
        (["toxic", "non-toxic"], ("non-toxic", "toxic")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        ([("b", "a"), ("c",), ()], ("a", "b", "c")),
    ],
)
def test_labels_come_in_a_sensible_order(targets: list[Any], expected: tuple[str, ...]) -> None:
    assert labels_of(targets) == expected
