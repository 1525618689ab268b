"""Labels on words: what a word is, tags and the entities they spell, scores as others count them, best legal paths."""

import itertools
import json
from random import Random

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.core import FILL, Row, Span
from burnish.measure.intervals import interval, paired_drop
from burnish.tasks import from_json, make
from burnish.tasks.answer import NONE, exact, f1
from burnish.tasks.label_words import tags_of
from burnish.tasks.tags import entities, rules, tag_ids, through
from burnish.units import IGNORE, padded, same_width, units

TYPES = ("loc", "per")
TAGS, BIOES = tags_of(TYPES), tags_of(TYPES, "BIOES")
TEXTS = st.text(alphabet="ab é'-.去了ก ा\u0301\n1", max_size=40)
NER = make("sequence-labelling", TAGS)
QA = make("question-answering", pair=True)


def words(text: str) -> list[str]:
    return [text[start:end] for start, end in units(text)]


def test_what_a_word_is() -> None:
    assert words("I'm at O'Neil-Smith's, 北京大学!") == [
        *("I", "'", "m", "at", "O", "'", "Neil", "-", "Smith", "'", "s", ",", "北", "京", "大", "学", "!"),
    ]
    assert words("नमस्ते cafe\u0301 @bob_x 3.5") == ["नमस्ते", "cafe\u0301", "@", "bob_x", "3", ".", "5"]
    assert words(" \n\t") == []


@given(TEXTS)
def test_words_take_every_character_but_blanks_once(text: str) -> None:
    found = units(text)
    assert all(a < b for a, b in found)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(found))
    assert "".join(words(text)) == "".join(text.split())


@given(
    st.lists(st.sampled_from(["Bob", "went", "去", ",", "x9"]), max_size=12),
    st.randoms(),
    st.sampled_from([TAGS, BIOES]),
)
def test_spans_to_tags_and_back(parts: list[str], random: Random, tags: tuple[str, ...]) -> None:
    text = " ".join(parts)
    where = units(text)
    cuts = sorted(random.sample(range(len(where) + 1), min(4, len(where) + 1)))
    kept = [(a, b - 1, random.choice(TYPES)) for a, b in itertools.pairwise(cuts) if random.random() < 0.7]
    spans = [Span(where[a][0], where[b][1], kind) for a, b, kind in kept]
    assert entities(tag_ids(where, spans, tags).tolist(), tags) == kept


@given(st.lists(st.integers(0, len(TAGS) - 1), max_size=12), st.lists(st.integers(0, len(TAGS) - 1), max_size=12))
def test_entities_and_scores_are_seqevals(true: list[int], said: list[int]) -> None:
    width = min(len(true), len(said))
    true, said = true[:width], said[:width]
    outputs = np.eye(len(TAGS), dtype=np.float32)[said][None] if width else np.zeros((1, 0, len(TAGS)), np.float32)
    found = NER.metrics(outputs, np.array([true], dtype=np.int64).reshape(1, width))
    theirs = [[[TAGS[i] for i in ids]] for ids in (true, said)]
    named = [(name, first, last) for first, last, name in entities(true, TAGS)]
    assert named == seqeval.metrics.sequence_labeling.get_entities(theirs[0][0])
    if named and entities(said, TAGS):
        assert found["f1"] == pytest.approx(seqeval.metrics.f1_score(*theirs, zero_division=0))
        assert found["precision"] == pytest.approx(seqeval.metrics.precision_score(*theirs, zero_division=0))
        assert found["recall"] == pytest.approx(seqeval.metrics.recall_score(*theirs, zero_division=0))
        assert found["macro_f1"] == pytest.approx(seqeval.metrics.f1_score(*theirs, average="macro", zero_division=0))


def legal(path: tuple[int, ...], steps: np.ndarray) -> bool:
    return all(steps[a, b] == 0 for a, b in itertools.pairwise((-1, *path, -1)))


@pytest.mark.parametrize("tags", [TAGS, BIOES])
def test_the_best_tags_spell_the_best_legal_path(tags: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    steps = rules(tags)
    for width in (1, 2, 3):
        own = rng.normal(size=(width, len(tags))).astype(np.float32)
        paths = [p for p in itertools.product(range(len(tags)), repeat=width) if legal(p, steps)]
        score = {p: sum(own[w, c] for w, c in enumerate(p)) for p in paths}
        found = through(padded([own, own[:1]]), steps)
        assert tuple(found[0].argmax(1)) == max(paths, key=score.__getitem__)
        for w, c in itertools.product(range(width), range(len(tags))):
            best = max((score[p] for p in paths if p[w] == c), default=-np.inf)
            assert found[0, w, c] == pytest.approx(best - max(score.values()), abs=1e-3) or best == -np.inf
        assert (found[1, 1:] == FILL).all()
        np.testing.assert_allclose(found[1, 0], through(padded([own[:1]]), steps)[0, 0], atol=1e-5)


def test_a_tag_out_of_nowhere_is_never_said() -> None:
    own = np.full((1, 2, len(TAGS)), -5.0, dtype=np.float32)
    own[0, 0, 0], own[0, 1, TAGS.index("I-per")] = 5.0, 1.0  # "O I-per", which begins nothing
    assert NER.answers(NER.read(own)) in ([[]], [[(1, 1, "per")]], [[(0, 1, "per")]])
    said = NER.read(own)[0].argmax(1)
    assert not (TAGS[said[0]] == "O" and TAGS[said[1]] == "I-per")


def ner_rows() -> list[Row]:
    return [
        Row("a", "Bob Lee saw Rome.", target=(Span(0, 7, "per"), Span(12, 16, "loc"))),
        Row("b", "nothing here", target=()),
    ]


def test_entities_are_answered_in_characters() -> None:
    rows = ner_rows()
    targets = NER.encode(rows)
    assert targets.shape == (2, 5)
    assert (targets[1, 2:] == IGNORE).all()
    own = [np.eye(len(TAGS), dtype=np.float32)[np.maximum(t[t != IGNORE], 0)] * 9 for t in targets]
    outputs = padded(own)
    assert NER.score(outputs, targets) == 1
    first, second = NER.decode(outputs, [row.text for row in rows])
    assert [(e["label"], e["start"], e["end"], e["text"]) for e in first["entities"]] == [
        ("per", 0, 7, "Bob Lee"),
        ("loc", 12, 16, "Rome"),
    ]
    assert second == {"entities": []}
    wrong = outputs.copy()
    wrong[0, 0] = wrong[0, 2]  # "Lee" alone: wrong border
    assert NER.flips(outputs, wrong).tolist() == [True, False]
    assert NER.metrics(wrong, targets)["relaxed_f1"] == 1
    assert NER.score(wrong, targets) == 0.5
    assert NER.losses(outputs, targets).tolist() == [0, 0]
    assert NER.losses(wrong, targets)[0] > 0


@pytest.mark.parametrize("metric", ["f1", "precision", "recall", "macro_f1", "relaxed_f1"])
def test_sums_make_the_score_and_its_interval(metric: str) -> None:
    task = make("sequence-labelling", TAGS, metric=metric)
    rng = np.random.default_rng(1)
    targets = rng.integers(0, len(TAGS), (40, 6))
    outputs, other = (np.eye(len(TAGS))[targets] + rng.normal(size=(40, 6, len(TAGS))) * s for s in (0.4, 0.6))
    tallies = task.tallies(outputs, targets)
    if tallies is not None:
        assert task.of_tallies(tallies.sum(0)[None])[0] == pytest.approx(task.score(outputs, targets))
    found = interval(task, outputs, targets, resamples=200)
    assert found.low <= found.value <= found.high
    assert paired_drop(task, outputs, other, targets, resamples=200).value > 0


def test_a_task_with_learned_steps_comes_back_from_json() -> None:
    from dataclasses import replace

    task = replace(NER, steps=tuple(tuple(0.5 for _ in range(6)) for _ in range(6)))
    assert from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    ("said", "true", "is_exact", "overlap"),
    [
        ("the Rome", "Rome.", 1, 1),
        ("An apple a day", "apple day", 1, 1),
        ("U.S. army", "the US Army", 1, 1),  # marks go before words are parted
        ("in Rome, Italy", "Rome", 0, 0.5),  # 1 of 3 words, 1 of 1
        ("anapple", "an apple", 0, 0),
        ("Rome Rome", "Rome", 0, 2 / 3),
        ("", "Rome", 0, 0),
        ("the", "a", 1, 1),  # nothing is left of either
    ],
)
def test_exact_match_and_f1_are_squads(said: str, true: str, is_exact: float, overlap: float) -> None:
    assert exact(said, [true]) == is_exact
    assert f1(said, [true]) == pytest.approx(overlap)
    assert f1(said, ["nothing like it", true]) == pytest.approx(overlap)


def test_no_answer_is_right_where_there_is_none() -> None:
    assert exact("", []) == f1("", []) == 1
    assert exact("Rome", []) == f1("Rome", []) == 0


def test_chinese_answers_are_compared_by_character() -> None:
    assert f1("北京大学", ["北京"]) == pytest.approx(2 / 3)
    assert exact("《北京》。", ["北京"]) == 1


def answer_outputs(rows: list[Row], ranges: list[tuple[int, int]]) -> np.ndarray:
    made = []
    for row, (first, last) in zip(rows, ranges, strict=True):
        own = np.zeros((len(units(row.text)) + 1, 2), dtype=np.float32)
        own[0] = -1
        if first < 0:
            own[0] = 9
        else:
            own[first + 1, 0] = own[last + 1, 1] = 5
        made.append(own)
    return padded(made)


def qa_rows() -> list[Row]:
    text = "Ann was born in the city of Rome in 1970."
    return [
        Row("a", text, "where?", (Span(28, 32), Span(16, 32))),
        Row("b", text, "why?", ()),
        Row("c", "short one", "what?", (Span(0, 5),)),
    ]


def test_answers_are_words_of_the_text() -> None:
    rows = qa_rows()
    targets = QA.encode(rows)
    outputs = answer_outputs(rows, [(7, 7), NONE, (0, 1)])
    assert QA.answers(outputs) == [(7, 7), NONE, (0, 1)]
    told = QA.decode(outputs, [row.text for row in rows])
    assert [(t["answer"], t["start"], t["end"]) for t in told] == [
        ("Rome", 28, 32),
        ("", None, None),
        ("short one", 0, 9),
    ]
    assert all(0 < t["score"] <= 1 for t in told)
    found = QA.metrics(outputs, targets)
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["f1"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert found["none_accuracy"] == 1
    assert QA.verdicts(outputs, targets) == ["exact", "none, rightly", "partly"]
    assert QA.flips(outputs, answer_outputs(rows, [(6, 7), NONE, (0, 1)])).tolist() == [True, False, False]
    tallies = QA.tallies(outputs, targets)
    assert QA.of_tallies(tallies.sum(0)[None])[0] == pytest.approx(QA.score(outputs, targets))


def test_an_answer_never_ends_before_it_starts() -> None:
    rng = np.random.default_rng(0)
    for width in (1, 2, 5, 40):
        own = rng.normal(size=(width + 1, 2)).astype(np.float32)
        own[0] = -99
        pairs = [(a, b) for a in range(width) for b in range(a, min(width, a + 30))]
        assert QA.answers(own[None]) == [max(pairs, key=lambda p: float(own[p[0] + 1, 0]) + float(own[p[1] + 1, 1]))]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3))
@settings(max_examples=30)
def test_padding_changes_no_answer(widths: list[int], more: int) -> None:
    rng = np.random.default_rng(len(widths))
    own = [rng.normal(size=(w, len(TAGS))).astype(np.float32) for w in widths]
    narrow = padded(own)
    wide = padded([*own, np.zeros((narrow.shape[1] + more, len(TAGS)), np.float32)])[:-1]
    assert not NER.flips(narrow, wide).any()
    assert NER.answers(NER.read(wide)) == NER.answers(NER.read(narrow))
    assert same_width(narrow, wide)[0].shape == wide.shape
