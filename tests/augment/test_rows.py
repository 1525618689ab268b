"""What holds for every technique that edits: as many rows as asked, none twice, whatever the order or the workers."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace

import pytest

from burnish import catalog
from burnish.augment._edits import Edit
from burnish.augment._rows import grown
from burnish.augment.aeda import Aeda
from burnish.core import Row, Work
from burnish.errors import DataError, UsageError

ROWS = tuple(
    Row(f"data:{i}", f"film number {w} was a good one for us", target="ab"[i % 2]) for i, w in enumerate("abcdefghij")
)


def work(train: tuple[Row, ...] = ROWS, valid: tuple[Row, ...] = ()) -> Work:
    return Work(None, None, SimpleNamespace(), train, valid)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Wish:
    ratio: float = 1.0
    weight: float = 0.5
    smoothing: float = 0.1


@dataclass(frozen=True)
class Once:
    """Changes a row in one way only, and only rows with an even number."""

    def edits(self, row: Row, rng: Random) -> list[Edit]:
        return [Edit(0, 4, "movie")] if int(row.id[5:]) % 2 == 0 else []


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 2.0])
def test_as_many_as_asked(ratio: float) -> None:
    made = Aeda(ratio=ratio)(work(), Random(1))
    new = [row for row in made.train if row.parent]
    assert made.train[:10] == ROWS
    assert len(new) == made.notes["new"] == ratio * 10
    assert len({row.text for row in made.train}) == len({row.id for row in made.train}) == 10 + len(new)
    assert made.notes["share"] == pytest.approx(ratio / (1 + ratio), abs=1e-4)


def test_order_and_workers_change_nothing() -> None:
    plain = set(Aeda(ratio=1.5)(work(), Random(1)).train)
    assert set(Aeda(ratio=1.5)(work(ROWS[::-1]), Random(1)).train) == plain
    assert set(Aeda(ratio=1.5, workers=2)(work(), Random(1)).train) == plain
    assert set(Aeda(ratio=1.5)(work(), Random(2)).train) != plain


def test_a_shortfall_is_counted() -> None:
    made = grown(work(), Wish(), Once(), "augment/once", Random(0))
    assert made.notes["new"] == 5
    assert made.notes["asked"] == 10
    assert made.notes["short"] == {"nothing to change": 25, "already there": 20}
    child = made.train[-1]
    assert (child.weight, child.smoothing, child.text[:5]) == (0.5, 0.1, "movie")
    assert child.parent in {row.id for row in ROWS}


def test_rows_held_out_are_never_made() -> None:
    held = tuple(replace(row, id=f"v:{row.id}", text=row.text.replace("film", "movie")) for row in ROWS[:2])
    made = grown(work(valid=held), Wish(), Once(), "augment/once", Random(0))
    assert made.notes["new"] == 4
    assert made.notes["short"]["a validation row"] == 5


def test_a_pair_changes_on_one_side() -> None:
    rows = tuple(replace(row, pair="and what was that film about then") for row in ROWS)
    made = Aeda(ratio=2.0)(work(rows), Random(0)).train[10:]
    sides = {(row.text == old.text, row.pair == old.pair) for row in made for old in rows if old.id == row.parent}
    assert sides == {(True, False), (False, True)}


def test_children_have_no_children() -> None:
    once = Aeda(ratio=1.0)(work(), Random(0))
    twice = Aeda(ratio=1.0)(once, Random(1))
    assert twice.notes["new"] == 10
    assert all("+" not in row.parent for row in twice.train)


def test_bad_settings_and_bad_rows_say_so() -> None:
    with pytest.raises(UsageError, match="ratio"):
        Aeda(ratio=0)(work(), Random(0))
    with pytest.raises(DataError, match="could change none"):
        Aeda()(work((Row("data:0", "   "), Row("data:1", ""))), Random(0))


def test_the_hash_seed_changes_nothing() -> None:
    code = (
        "from random import Random; from tests.augment.test_rows import work; from burnish.augment.aeda import Aeda;"
        "print([r.text for r in Aeda()(work(), Random(3)).train])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "01"
    }
    assert len(said) == 1


def test_the_page_is_found() -> None:
    assert catalog.page("augment/aeda").kind == "Aeda"
