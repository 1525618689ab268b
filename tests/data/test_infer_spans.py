"""Inferring spans and answers: by form and name, what the user says first, and a question where it could be either."""

from typing import Any

import pytest

from burnish.data.infer import Columns, infer
from burnish.data.kind import ANSWERS, CLASSIFY, MULTI_LABEL, SEQUENCE
from burnish.errors import DataError, UsageError
from tests.data.test_infer import LABELS, OTHERS, SENTENCES, chosen, table

TOKENS = [text.split() for text in SENTENCES]
TAGS = [["O"] * (len(tokens) - 1) + ["B-film"] for tokens in TOKENS]
POS = [["NOUN"] * len(tokens) for tokens in TOKENS]
SPANS = [[{"start": 0, "end": 4, "label": "film"}], []] * 20
TRIPLES = [[[0, 4, "film"]], []] * 20
CONTEXTS = [f"{text} by somebody {i}" for i, text in enumerate(SENTENCES)]
NAMES = [f"somebody {i}" for i in range(40)]
PLACED = [{"text": [name], "answer_start": [c.index(name)]} for name, c in zip(NAMES, CONTEXTS, strict=True)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"tokens": TOKENS, "tags": TAGS}, ("tokens", None, "tags", SEQUENCE)),
        ({"id": range(40), "words": TOKENS, "labels": TAGS}, ("words", None, "labels", SEQUENCE)),
        ({"tokens": TOKENS, "pos_tags": POS, "ner_tags": TAGS}, ("tokens", None, "ner_tags", SEQUENCE)),
        ({"zi": TOKENS, "biao": TAGS}, ("zi", None, "biao", SEQUENCE)),
        ({"text": SENTENCES, "spans": SPANS}, ("text", None, "spans", SEQUENCE)),
        ({"id": range(40), "text": SENTENCES, "label": TRIPLES}, ("text", None, "label", SEQUENCE)),
        ({"comment": SENTENCES, "title": OTHERS, "entities": SPANS}, ("comment", None, "entities", SEQUENCE)),
        ({"context": CONTEXTS, "question": OTHERS, "answers": PLACED}, ("context", "question", "answers", ANSWERS)),
        ({"question": OTHERS, "passage": CONTEXTS, "answer": NAMES}, ("passage", "question", "answer", ANSWERS)),
        ({"question": OTHERS, "context": CONTEXTS, "label": LABELS}, ("question", "context", "label", CLASSIFY)),
        (
            {"question": OTHERS, "passage": CONTEXTS, "answer": ["yes", "no"] * 20},
            ("question", "passage", "answer", CLASSIFY),
        ),
        ({"text": SENTENCES, "label": [["a"], ["a", "b"]] * 20}, ("text", None, "label", MULTI_LABEL)),
        (
            {"text": SENTENCES, "authors": [["x"], ["y"]] * 20, "label": [["a"], ["b"]] * 20},
            ("text", None, "label", MULTI_LABEL),
        ),
    ],
)
def test_columns_and_task_are_found(columns: dict[str, list[Any]], expected: tuple[Any, ...]) -> None:
    found = infer(table(**columns))
    assert chosen(found) == expected
    assert len(found.reasons) >= 3


def test_the_start_and_the_impossible_have_columns_of_their_own() -> None:
    starts = [own["answer_start"][0] for own in PLACED]
    data = table(context=CONTEXTS, question=OTHERS, answer=NAMES, answer_start=starts, is_impossible=[False] * 40)
    found = infer(data)
    assert (found.kind, found.start, found.impossible) == (ANSWERS, "answer_start", "is_impossible")


def test_given_names_win() -> None:
    data = table(tokens=TOKENS, ner_tags=TAGS, chunks=TAGS, topic=LABELS, text=SENTENCES)
    assert chosen(infer(data, target="chunks")) == ("tokens", None, "chunks", SEQUENCE)
    assert chosen(infer(data, task=SEQUENCE)) == ("tokens", None, "ner_tags", SEQUENCE)
    assert chosen(infer(data, text="text", target="topic")) == ("text", None, "topic", CLASSIFY)
    asked = table(a=CONTEXTS, b=OTHERS, c=PLACED, label=LABELS)
    assert chosen(infer(asked, text="a", pair="b", target="c")) == ("a", "b", "c", ANSWERS)
    assert chosen(infer(asked, text="a", pair="b", target="label")) == ("a", "b", "label", CLASSIFY)


@pytest.mark.parametrize(
    "columns",
    [
        {"tokens": TOKENS, "tags": TAGS, "text": SENTENCES, "intent": LABELS},
        {"text": SENTENCES, "entities": SPANS, "label": LABELS},
        {"context": CONTEXTS, "question": OTHERS, "answers": PLACED, "topic": LABELS},
    ],
)
def test_labels_beside_are_asked_about(columns: dict[str, list[Any]]) -> None:
    with pytest.raises(UsageError, match="could both be the target") as error:
        infer(table(**columns))
    kind = str(error.value).rsplit("--task ", 1)[1]
    assert infer(table(**columns), task=kind).kind == kind
    assert infer(table(**columns), task=CLASSIFY).kind == CLASSIFY


def test_a_task_without_its_columns_says_what_it_needs() -> None:
    for task, part in ((SEQUENCE, "tokens and tags"), (ANSWERS, "answer_start")):
        with pytest.raises(UsageError, match=f"no columns for {task}") as error:
            infer(table(text=SENTENCES, label=LABELS), task=task)
        assert part in str(error.value)


@pytest.mark.parametrize(
    "columns",
    [
        {"tokens": TOKENS, "tags": [["O"] * len(tokens) for tokens in TOKENS]},
        {"context": CONTEXTS, "question": OTHERS, "answers": [{"text": [], "answer_start": []}] * 40},
    ],
)
def test_nothing_labelled_is_refused(columns: dict[str, list[Any]]) -> None:
    with pytest.raises(DataError, match=r"is labelled|no question"):
        infer(table(**columns), task=SEQUENCE if "tokens" in columns else ANSWERS)


def test_spans_are_no_labels() -> None:
    with pytest.raises(DataError, match="holds spans") as error:
        infer(table(text=SENTENCES, label=SPANS), task=MULTI_LABEL)
    assert f"--task {SEQUENCE}" in str(error.value)


def test_answers_given_as_such_need_not_be_many() -> None:
    data = table(context=["yes and no, it is said"] * 40, question=OTHERS, answer=["yes", "no"] * 20)
    assert infer(data).kind == CLASSIFY
    assert infer(data, task=ANSWERS).kind == ANSWERS


def test_too_few_rows_are_too_few_here_too() -> None:
    with pytest.raises(DataError, match="has 4 rows"):
        infer(table(tokens=TOKENS[:4], tags=TAGS[:4]))


def test_reasons_say_the_scheme() -> None:
    found: Columns = infer(table(tokens=TOKENS, tags=[[t.replace("B-", "S-") for t in own] for own in TAGS]))
    assert "(BIOES)" in found.reasons[-1]
