"""TextFooler and PWWS: the four parts each do theirs, and what comes out fools the victim."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._attack import Case, Limits, Result, greedy, lost, side_by_side, with_changes, without
from burnish.augment._sources import Place, source_of
from burnish.augment._victim import victim_of
from burnish.augment._words import Word, words
from burnish.augment.pwws import PWWS, by_weighted_saliency, weighted
from burnish.augment.textfooler import TextFooler, by_deletion, importance
from burnish.core import Row, Span
from burnish.errors import DataError, Missing, UsageError
from burnish.tasks import make
from burnish.tune.finetune import FineTune
from tests.augment.tiny_models import mlm_folder
from tests.tiny import BAD, GOOD, tiny_work

# How good a word is, for a victim that adds them up. None of the others says anything.
WORTH = {"good": 2.0, "fine": 0.5, "nice": 1.5, "so": -0.2, "poor": -2.0, "dull": -1.0, "meh": -0.1}


def case(text: str, others: dict[str, tuple[str, ...]], label: int = 1) -> Case:
    found = words(text)
    return Case(text, label, [Place(w, others[w.text]) for w in found if w.text in others], len(found))


def adding(asked: Sequence[tuple[int, str]]) -> np.ndarray:
    """Odds of (bad, good) by the sum of the words' worth."""
    sums = np.array([sum(WORTH.get(w, 0.0) for w in text.split()) for _, text in asked])
    good = 1 / (1 + np.exp(-sums))
    return np.stack([1 - good, good], axis=1)


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Bags of words, so that the cosine of two texts is known by hand."""
    known = sorted({w for text in texts for w in text.split()})
    bags = np.array([[float(text.split().count(w)) for w in known] for text in texts])
    return bags / np.linalg.norm(bags, axis=1, keepdims=True)


def run(one: Case, order: Any = by_deletion, share: float = 1.0, similarity: float = 0.0, queries: int = 99) -> Result:
    return side_by_side([greedy(one, order, Limits(share, similarity, queries))], adding, vectors)[0]


def changed(one: Case, result: Result) -> str:
    return with_changes(
        one, {i: e.text for e in result.edits for i, p in enumerate(one.places) if p.word.start == e.start}
    )


TEXT = "a good and nice film"
OTHERS = {"good": ("fine", "so"), "nice": ("dull", "meh"), "film": ("movie",)}


def test_importance_by_hand() -> None:
    """The second word's deletion turns the answer: what the other label gains counts as well."""
    found = importance(np.array([[0.3, 0.7], [0.6, 0.4]]), np.array([0.1, 0.9]), 1)
    assert found == pytest.approx([0.2, 0.5 + 0.5])


def test_weighted_saliency_by_hand() -> None:
    e = np.e
    assert weighted(np.array([1.0, 0.0]), np.array([0.5, 0.4])) == pytest.approx([0.5 * e / (e + 1), 0.4 / (e + 1)])


@pytest.mark.parametrize("order", [by_deletion, by_weighted_saliency])
def test_the_search_by_hand(order: Any) -> None:
    """'good' counts most, and 'so' costs most there; then 'dull' for 'nice' makes -1.2."""
    one = case(TEXT, OTHERS)
    result = run(one, order)
    assert changed(one, result) == "a so and dull film"
    assert (result.why, result.changed) == ("", 2 / 5)
    # The text, three deletions or words hidden, and for TextFooler 2 + 2 others; PWWS asks for all five first.
    assert result.queries == {by_deletion: 1 + 3 + 2 + 2, by_weighted_saliency: 1 + 3 + 5 + 1 + 1}[order]


def test_a_share_of_the_words_is_the_limit() -> None:
    assert run(case(TEXT, OTHERS), share=0.2).why == "not fooled"
    assert run(case(TEXT, OTHERS), share=0.4).why == ""


def test_a_budget_of_queries_is_the_limit() -> None:
    result = run(case(TEXT, OTHERS), queries=6)
    assert (result.why, result.queries) == ("queries", 6)


def test_likeness_is_a_limit_and_a_choice() -> None:
    """One word of five: cosine 4 / 5. Of two words that fool, the one with a neighbour in the text stays nearer."""
    assert run(case(TEXT, OTHERS), similarity=0.81).why == "not fooled"
    one = case("so good film", {"good": ("poor", "so")})
    result = run(one, similarity=0.1)
    assert changed(one, result) == "so so film"
    assert run(one).edits[0].text == "poor"


def test_a_wrong_answer_is_not_attacked() -> None:
    result = run(case("a poor film", {"poor": ("good",)}))
    assert (result.why, result.queries, result.edits) == ("wrong already", 1, [])


def test_no_places_no_change() -> None:
    for order in (by_deletion, by_weighted_saliency):
        assert run(case("a good film", {}), order).why == "not fooled"


def test_words_are_deleted_with_their_space() -> None:
    one = case("good, a nice film", {"good": (), "nice": (), "film": ()})
    assert [without(one, i) for i in range(3)] == [", a nice film", "good, a film", "good, a nice"]


@given(st.lists(st.lists(st.sampled_from([*WORTH, "film", "a"]), min_size=1, max_size=6), min_size=1, max_size=6))
def test_side_by_side_is_as_alone(texts: list[list[str]]) -> None:
    others = {w: tuple(o for o in WORTH if o != w)[:3] for w in WORTH}
    cases = [lambda t=t: case(" ".join(t), others) for t in texts]
    searches = [
        greedy(one(), order, Limits(0.5, 0.3, 40)) for one in cases for order in (by_deletion, by_weighted_saliency)
    ]
    alone = [run(one(), order, 0.5, 0.3, 40) for one in cases for order in (by_deletion, by_weighted_saliency)]
    together = side_by_side(searches, adding, vectors)
    assert together == alone
    for result, one in zip(together, [one() for one in cases for _ in range(2)], strict=True):
        if not result.why:
            assert lost(adding([(0, changed(one, result))])[0], 1)
            assert len(result.edits) <= max(1, 0.5 * one.words)


@pytest.fixture(scope="module")
def synonyms(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "own.txt"
    path.write_text(f"{', '.join((*GOOD, *BAD))}\nfilm, plot\n")
    return str(path)


@pytest.mark.parametrize("kind", [TextFooler, PWWS])
@pytest.mark.parametrize("source", ["own", "masked_lm"])
def test_new_rows_fool_the_victim_and_keep_their_label(kind: Any, source: Any, synonyms: str) -> None:
    work = tiny_work()
    step = kind(source=source, place=synonyms if source == "own" else str(mlm_folder()), similarity=0.5)
    made = step(work, Random(0))
    new, before = made.train[64:], {row.id: row for row in made.train}
    odds, told = victim_of(work, "auto")
    assert told == made.notes["victim"] == "words"
    assert len(new) == made.notes["new"] == round(0.3 * 64)
    answers = work.task.answers(odds(new))
    for row, answer in zip(new, answers, strict=True):
        assert row.target == before[row.parent].target != answer
    assert 0 < made.notes["success_rate"] <= 1
    assert made.notes["changed_share"] <= 0.25
    assert made.notes["queries"] > 2
    assert step(replace(work, train=work.train[::-1]), Random(0)).train[64:] == new


def test_a_model_that_has_learned_is_the_victim(synonyms: str) -> None:
    work = FineTune(epochs=12, lr=1e-2, batch_size=8)(tiny_work(), Random(0))
    made = TextFooler(source="own", place=synonyms, ratio=0.1, similarity=0.0)(work, Random(0))
    odds, told = victim_of(work, "auto")
    assert told == made.notes["victim"] == "model"
    new = made.train[64:]
    assert all(row.target != answer for row, answer in zip(new, work.task.answers(odds(new)), strict=True))


def test_a_pair_is_attacked_on_one_side(synonyms: str) -> None:
    work = tiny_work()
    rows = [replace(row, text="the film and the plot", pair=row.text) for row in work.train]
    made = TextFooler(source="own", place=synonyms, similarity=0.0, share=0.5)(
        replace(work, train=rows, task=make("text-classification", labels=("neg", "pos"), pair=True)), Random(0)
    )
    assert made.notes["new"] > 0
    assert all(row.text == "the film and the plot" for row in made.train[64:] if row.pair not in {r.pair for r in rows})


def test_protected_words_stand(synonyms: str) -> None:
    row = Row("r", "not Bob good film 12 dull", target=(Span(4, 7, "PER"),))
    ((one, two),) = source_of("own", synonyms, ("film",), 5)([row])
    assert (one.word, two.word) == (Word(8, 12, "good"), Word(21, 25, "dull"))
    assert one.others == (*(w for w in GOOD if w != "good"), *BAD)[:5]
    (places,) = source_of("masked_lm", str(mlm_folder()), ("film",), 5)([replace(row, target="a")])
    assert [place.word.text for place in places] == ["good", "dull"]


def test_what_cannot_be_attacked_is_refused(tmp_path: Path, synonyms: str) -> None:
    work = tiny_work(8, 4)
    for wrong in ({"share": 0}, {"similarity": 1.0}, {"queries": 1}, {"candidates": 0}):
        with pytest.raises(UsageError):
            PWWS(**wrong)
    with pytest.raises(Missing, match="no WordNet"):
        TextFooler(place=str(tmp_path))(work, Random(0))
    with pytest.raises(UsageError, match="masked language model"):
        TextFooler(source="masked_lm")(work, Random(0))
    with pytest.raises(UsageError, match="own list"):
        TextFooler(source="own")(work, Random(0))
    with pytest.raises(DataError):
        TextFooler(source="own", place=str(tmp_path / "none.txt"))(work, Random(0))
    numbers = [replace(row, target=1.0) for row in work.train]
    rows_of_numbers = replace(work, train=numbers, task=make("regression", labels=()))
    with pytest.raises(UsageError, match="attack on"):
        TextFooler(source="own", place=synonyms)(rows_of_numbers, Random(0))


@pytest.mark.real
def test_wordnet_gives_words_of_the_same_kind() -> None:
    try:
        source = source_of("wordnet", "", (), 10)
    except Missing as missing:
        pytest.skip(str(missing))
    (places,) = source([Row("r", "Today Bob Miller bought a terrible car in 1999 but he never sold it", target="neg")])
    found = {place.word.text: place.others for place in places}
    assert "purchased" in found["bought"]
    assert {"awful", "dreadful"} & set(found["terrible"])
    assert not {"Bob", "Miller", "never", "1999", "it"} & set(found)
