"""What holds for all techniques that know spans, on random rows and on real ones, English and Chinese."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from burnish.augment._mentions import mentions, plain
from burnish.augment._tags import OUTSIDE, cut, joined, spans_of
from burnish.augment.aeda import Aeda
from burnish.augment.context import Context
from burnish.augment.entities import Entities
from burnish.augment.label_words import LabelWords
from burnish.augment.shuffle_segments import ShuffleSegments
from burnish.core import Row
from burnish.errors import DataError, UsageError
from tests.augment.spans import labels, random_rows, real_rows, said, work_of
from tests.augment.test_tags import trimmed, well_formed

MAKERS: dict[str, Callable[..., Any]] = {
    "entities": Entities,
    "label_words": LabelWords,
    "shuffle_segments": ShuffleSegments,
    "shuffle_context": lambda **settings: ShuffleSegments(mentions=False, **settings),
    "context": Context,
    "context_dropped": lambda **settings: Context(drop=1.0, p=0.8, **settings),
    "aeda": lambda filters=(), **settings: Aeda(**settings),
}
LEAVES_MENTIONS = ("shuffle_context", "context", "context_dropped", "aeda")


def outside(row: Row) -> list[str]:
    """The text between the spans, each without the spaces at its ends."""
    ends = [0, *(at for s in spans_of(row) for at in (s.start, s.end)), len(row.text)]
    return [row.text[a:b].strip() for a, b in zip(ends[::2], ends[1::2], strict=True)]


def check(name: str, parent: Row, child: Row, known: dict[str, set[str]]) -> None:
    """No broken tag, no cut entity, the labels in their order; then what each technique promises."""
    assert child.text != parent.text
    tags = [word.tag for word in cut(child)]
    assert well_formed(tags)
    assert joined(cut(child), child.id) == trimmed(child)
    assert labels(child) == labels(parent)
    before, after = said(parent), said(child)
    if name in LEAVES_MENTIONS:
        assert after == before
    if name == "entities":
        assert outside(child) == outside(parent)
        changed = [(a, b, label) for a, b, label in zip(before, after, labels(parent), strict=True) if a != b]
        assert changed
        for old, new, label in changed:
            assert plain(new).casefold() in known[label]
            assert plain(new).casefold() != plain(old).casefold()
            assert new == new.lower() or not old.islower()
    if name == "label_words":
        assert tags == [word.tag for word in cut(parent)]
        assert [w.text for w in cut(child) if w.kind == "mark"] or "mark" not in {w.kind for w in cut(parent)}
    if name.startswith("shuffle"):
        assert Counter(child.text) == Counter(parent.text)
        for a, b in zip(before, after, strict=True):
            assert Counter(a) == Counter(b)
    if name.startswith("context"):
        kept = [w.text for w in cut(child) if w.tag == OUTSIDE]
        lost = Counter(w.text for w in cut(parent) if w.tag == OUTSIDE) - Counter(kept)
        assert lost


def cases(rows: list[Row], name: str, seed: int, **settings: Any) -> int:
    """Make rows and check each; returns how many."""
    made = MAKERS[name](**settings)(work_of(rows), Random(seed))
    parents = {row.id: row for row in rows}
    known = {label: {key.casefold() for key in found} for label, found in mentions(rows).items()}
    new = made.train[len(rows) :]
    for child in new:
        check(name, parents[child.parent], child, known)
    return len(new)


@pytest.mark.parametrize("name", MAKERS)
def test_random_rows(name: str) -> None:
    assert sum(cases(random_rows(seed, 60), name, seed, ratio=1.0, filters=()) for seed in range(5)) > 150


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_hundred_thousand_cases(name: str) -> None:
    """All parametrizations together are more than 100,000."""
    count = 0
    for seed in range(35):
        count += cases(random_rows(f"many/{seed}", 480), name, seed, ratio=1.0, filters=())
    print(f"{name}: {count} cases")
    assert count > 14_500


@pytest.mark.real
@pytest.mark.parametrize("data", ["wnut17", "zh_news_ner"])
@pytest.mark.parametrize("name", MAKERS)
def test_real_rows(shared: Path, name: str, data: str) -> None:
    rows = real_rows(shared, data)
    if name != "aeda":
        rows = [row for row in rows if row.target][:300]
    assert cases(rows[:300], name, 1, ratio=0.5) == 150


@pytest.mark.parametrize("name", MAKERS)
def test_order_and_workers_change_nothing(name: str) -> None:
    rows = random_rows("order", 120)
    once = MAKERS[name](ratio=0.8)(work_of(rows), Random(1))
    assert set(MAKERS[name](ratio=0.8)(work_of(rows[::-1]), Random(1)).train) == set(once.train)
    assert MAKERS[name](ratio=0.8, workers=2)(work_of(rows), Random(1)).train == once.train
    assert MAKERS[name](ratio=0.8)(work_of(rows), Random(2)).train != once.train


def test_the_hash_seed_changes_nothing() -> None:
    code = (
        "from random import Random; from tests.augment.spans import *; from tests.augment.test_spans import MAKERS;"
        "rows = random_rows('hash', 50);"
        "print([m()(work_of(rows), Random(3)).train for m in MAKERS.values()])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "01"
    }
    assert len(found) == 1


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "aeda"])
def test_wrong_rows_and_settings_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="without labelled spans"):
        MAKERS[name]()(work_of([Row("data:0", "a good film", None, "pos")]), Random(0))
    wrong = [*random_rows(0, 9), Row("data:9", "Anna went", None, (*random_rows(4, 1)[0].target[:0],))]  # type: ignore
    assert MAKERS[name]()(work_of(wrong), Random(0)).notes["new"]
    if name != "context_dropped":
        with pytest.raises(UsageError, match="p 0"):
            MAKERS[name](p=0)
