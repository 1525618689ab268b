"""Where folds are dealt, made rows stay with their original, and nobody is chosen or measured by them."""

from dataclasses import replace
from random import Random

from burnish.compress.early_exit import _held_back
from burnish.core import Row, Work
from burnish.data.family import parted
from burnish.tune import few_rows
from burnish.tune.few_rows import FewRows, _without
from tests.tiny import tiny_work


def grown_work() -> Work:
    work = tiny_work(train=24, valid=8)
    made = [replace(row, id=f"{row.id}+x.{n}", parent=row.id) for row in work.train for n in range(2)]
    return replace(work, train=[*work.train, *made])


def assert_whole(learn: list[Row], held: list[Row]) -> None:
    assert not any(row.parent for row in held)
    assert not {row.parent for row in learn} & {row.id for row in held}


def test_a_part_that_is_held_back_keeps_families_whole() -> None:
    for seed in range(5):
        work = _held_back(grown_work(), seed)
        assert_whole(list(work.train), list(work.valid))
        here = {row.id for row in work.train if not row.parent}
        assert sum(1 for row in work.train if row.parent) == 2 * len(here)


def test_folds_keep_families_whole() -> None:
    work = grown_work()
    pool, children = parted([*work.train, *work.valid])
    held = set(range(0, 32, 3))
    for seed in range(5):
        inner = _without(work, pool, children, held, seed)
        assert_whole(list(inner.train), [*inner.valid, *(pool[n] for n in held)])
        assert {row.parent for row in inner.train if row.parent} <= {row.id for row in inner.train}


def test_the_contest_asks_about_originals_only(monkeypatch) -> None:
    asked: list[Row] = []
    real = few_rows._outputs
    monkeypatch.setattr(few_rows, "_outputs", lambda made, rows: asked.extend(rows) or real(made, rows))
    FewRows(rivals=("tune/frozen", "tune/frozen:pooling=head"), folds=2, repeats=1)(grown_work(), Random(0))
    assert asked
    assert not any(row.parent for row in asked)
