"""Rows into train, valid and test: no text stands on two sides, and each side has its share of every label.

Rows whose texts are the same after normalising (case, blanks, punctuation; the two texts of a pair in either
order) form a group, and a group stays whole. Where a group goes is decided by a hash of its text and the
seed, so the split is a function of the content and the seed alone: the order of the file does not matter, and
rows that are added later hardly move the others.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.core import Row
from burnish.data.infer import Columns
from burnish.data.kind import CLASSIFY, REGRESS, label_of, labels_of, number_of, parts_of
from burnish.data.table import Table, is_missing
from burnish.data.text import normalise
from burnish.errors import DataError, UsageError, nearest, problem
from burnish.words import say

__all__ = ["Splits", "content_hash", "group_key", "labels_of", "rows_of", "split", "with_test"]

# One row in five for the test: on 1,000 rows that shows drops of some 6 points, and fewer would show next to
# nothing. Choosing needs less than proving. Beyond the caps more rows narrow the intervals by little, but
# cost training rows and, at every candidate, time.
TEST_SHARE, TEST_CAP = 0.20, 10_000
VALID_SHARE, VALID_CAP = 0.15, 2_000

BINS = 10  # quantile bins that stand in for labels in regression
SHOWN = 5


@dataclass(frozen=True)
class Splits:
    """Rows by use. `notes` are sentences for the user, such as how many rows were taken out and why."""

    train: tuple[Row, ...]
    valid: tuple[Row, ...]
    test: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def rows_of(table: Table, columns: Columns, role: str = "data") -> list[Row]:
    """Every row of the table as a Row with id 'role:number'; none is left out.

    A text that is missing becomes "": such rows reach a served model too, so they stay in, and `check` counts
    them. A target that is missing cannot be learned or scored: DataError names the first lines.
    Raises DataError also when the table lacks one of the columns, or has a target that is no number.
    """
    _need_columns(table, columns)
    gaps = [table.where(i) for i, value in enumerate(table.values(columns.target)) if is_missing(value)]
    if gaps:
        more = say(" and {count} more", count=len(gaps) - SHOWN) if len(gaps) > SHOWN else ""
        first = ", ".join(gaps[:SHOWN])
        given = say(
            "{source} lacks '{target}' on {first}{more}",
            source=table.source,
            target=columns.target,
            first=first,
            more=more,
        )
        raise DataError(problem(given, say("a target in every row"), say("fill them in, or remove those rows")))
    return [
        Row(
            f"{role}:{i}",
            _text(table, i, columns.text),
            None if columns.pair is None else _text(table, i, columns.pair),
            _target(table, i, columns),
        )
        for i in range(len(table.rows))
    ]


def _need_columns(table: Table, columns: Columns) -> None:
    for name in filter(None, (columns.text, columns.pair, columns.target)):
        if name not in table.columns:
            close = nearest(name, table.columns)
            given = say("{source} has no column '{name}'", source=table.source, name=name)
            expected = say("the columns of the training data; here: {columns}", columns=", ".join(table.columns))
            hint = say("rename '{close}' to '{name}'", close=close, name=name) if close else say("add the column")
            raise DataError(problem(given, expected, hint))


def _text(table: Table, index: int, column: str) -> str:
    value = table.rows[index].get(column)
    text = "" if is_missing(value) else str(value)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        where = table.where(index)
        given = say("{source}, {where}: half of a character (a lone surrogate)", source=table.source, where=where)
        raise DataError(problem(given, say("whole characters"), say("write that text again; an emoji was cut in two")))
    return text


def _target(table: Table, index: int, columns: Columns) -> str | float | tuple[str, ...]:
    value = table.rows[index][columns.target]
    if columns.kind == CLASSIFY:
        return label_of(value)
    if columns.kind != REGRESS:
        return parts_of(value, columns.separator)
    number = number_of(value)
    if number is None:
        where = table.where(index)
        given = say("{source}, {where}: '{value}' is not a number", source=table.source, where=where, value=value)
        raise DataError(problem(given, say("a finite number with a decimal point"), f"--task {CLASSIFY}"))
    return number


def split(rows: Sequence[Row], *, valid: float | None = None, test: float | None = None, seed: int = 0) -> Splits:
    """Cut rows in three. `valid` and `test` are shares of all rows, 0..1; by default 15 % and 20 %, capped.

    Each label keeps its share on each side as far as whole groups allow (regression: each tenth of the
    values; multi-label: each label set, or the rarest label of a rare set), and one group stays in train.
    The rows of each side come in hash order, which is random for any purpose but the same every time.
    Raises UsageError for shares that leave nothing to train on, DataError when a side would be empty.
    """
    test_share = min(TEST_SHARE, TEST_CAP / max(len(rows), 1)) if test is None else test
    valid_share = min(VALID_SHARE, VALID_CAP / max(len(rows), 1)) if valid is None else valid
    if min(test_share, valid_share) < 0 or test_share + valid_share >= 1:
        given = say("shares of {valid} for valid and {test} for test", valid=valid_share, test=test_share)
        raise UsageError(problem(given, say("shares of 0 or more that add up to less than 1"), "0.15, 0.2"))
    groups = _groups(rows, seed)
    strata = _strata(groups)
    test_groups, rest = _take(groups, strata, test_share, len(rows))
    left = sum(len(members) for members in rest.values())
    valid_groups, train_groups = _take(rest, strata, valid_share * len(rows) / max(left, 1), left)
    found = Splits(_flat(train_groups), _flat(valid_groups), _flat(test_groups))
    wanted = {"train": 1.0, "valid": valid_share, "test": test_share}
    for side in (name for name, share in wanted.items() if share and not getattr(found, name)):
        counts = say("{rows} rows with {texts} different texts", rows=len(rows), texts=len(groups))
        given = say("{counts} leave none for {side}", counts=counts, side=side)
        raise DataError(problem(given, say("more rows with different texts"), say("label more rows")))
    return found


def with_test(train: Sequence[Row], test: Sequence[Row], *, valid: float | None = None, seed: int = 0) -> Splits:
    """As `split`, but the test rows are given and stay as they are, in their order.

    Rows of `train` whose text is among the test rows are taken out and counted in the notes.
    Raises DataError for test labels that train does not have, and when nothing is left to train on.
    """
    held = {group_key(row) for row in test}
    kept = [row for row in train if group_key(row) not in held]
    if not kept:
        given = say("all {count} training rows are also in the test file", count=len(train))
        raise DataError(problem(given, say("a test file with texts of its own"), say("leave --test out for a split")))
    _refuse_unknown_labels(kept, test)
    removed = len(train) - len(kept)
    notes = (
        (say("{count} training rows have the text of a test row and were left out", count=removed),) if removed else ()
    )
    return replace(split(kept, valid=valid, test=0.0, seed=seed), test=tuple(test), notes=notes)


def _refuse_unknown_labels(train: Sequence[Row], test: Sequence[Row]) -> None:
    if any(isinstance(row.target, float) for row in train):
        return
    known = set(labels_of([row.target for row in train]))
    unknown = [label for label in labels_of([row.target for row in test]) if label not in known]
    if unknown:
        shown = ", ".join(f"'{label}'" for label in unknown[:SHOWN])
        given = say("the test file has labels that the training data lacks: {shown}", shown=shown)
        close = nearest(unknown[0], known)
        hint = (
            say("did you mean '{close}'?", close=close)
            if close
            else say("add such rows to train, or drop them from test")
        )
        expected = say("one of: {known}", known=", ".join(sorted(known)[:20]))
        raise DataError(problem(given, expected, hint))


def group_key(row: Row) -> str:
    """What rows share that must not be parted: the normalised text, or both texts in either order."""
    texts = [normalise(row.text)] if row.pair is None else sorted((normalise(row.text), normalise(row.pair)))
    return "\x1f".join(texts)


def content_hash(rows: Sequence[Row]) -> str:
    """SHA-256 over texts and targets; the order of the rows and their ids do not count."""
    lines = sorted(
        hashlib.sha256(repr((row.text, row.pair, row.target)).encode("utf-8", "surrogatepass")).digest() for row in rows
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()


Groups = Mapping[str, Sequence[Row]]  # by group key, in hash order


def _groups(rows: Sequence[Row], seed: int) -> Groups:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[group_key(row)].append(row)
    for members in found.values():
        members.sort(key=lambda row: (row.text, row.pair or "", str(row.target), row.id))
    return {key: found[key] for key in sorted(found, key=lambda key: _rank(key, seed))}


def _rank(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogatepass")).digest()


def _strata(groups: Groups) -> dict[str, str]:
    """Group key -> name of the stratum whose share must be kept."""
    targets = {key: _typical(members) for key, members in groups.items()}
    if any(isinstance(target, float) for target in targets.values()):
        return _bins(targets)
    if any(isinstance(target, tuple) for target in targets.values()):
        return _label_sets(targets)
    return {key: str(target) for key, target in targets.items()}


def _typical(members: Sequence[Row]) -> Any:
    """The target most rows of a group have; of equals the first in order."""
    counts = Counter(row.target for row in members)
    return min(counts, key=lambda target: (-counts[target], str(target)))


def _bins(targets: Mapping[str, float]) -> dict[str, str]:
    ordered = sorted(targets, key=lambda key: (targets[key], key))
    return {key: f"{BINS * i // len(ordered):02d}" for i, key in enumerate(ordered)}


def _label_sets(targets: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The whole set of labels where it is common enough to be shared out, else its rarest label."""
    sets, single = (
        Counter(targets.values()),
        Counter(label for labels in targets.values() for label in labels),
    )
    return {
        key: "|".join(labels)
        if sets[labels] >= BINS
        else min(labels, key=lambda label: (single[label], label), default="")
        for key, labels in targets.items()
    }


def _take(groups: Groups, strata: Mapping[str, str], share: float, rows: int) -> tuple[Groups, Groups]:
    """(taken, left): from each stratum, in hash order, whole groups up to its quota of rows."""
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for key in groups:
        by_stratum[strata[key]].append(key)
    sizes = {name: sum(len(groups[key]) for key in keys) for name, keys in by_stratum.items()}
    quotas = _quotas(sizes, share, round(share * rows))
    taken: set[str] = set()
    for name, keys in by_stratum.items():
        room = quotas[name]
        for key in keys[:-1]:  # the last group stays in train, so that every label can be learned
            if len(groups[key]) <= room:
                taken.add(key)
                room -= len(groups[key])
    return {k: m for k, m in groups.items() if k in taken}, {k: m for k, m in groups.items() if k not in taken}


def _quotas(sizes: Mapping[str, int], share: float, total: int) -> dict[str, int]:
    """Whole rows a stratum that add up to `total`: the largest remainders are rounded up (Hamilton)."""
    exact = {name: share * size for name, size in sizes.items()}
    quotas = {name: math.floor(value) for name, value in exact.items()}
    order = sorted(sizes, key=lambda name: (quotas[name] - exact[name], name))
    for name in order[: max(0, total - sum(quotas.values()))]:
        quotas[name] += 1
    return quotas


def _flat(groups: Groups) -> tuple[Row, ...]:
    return tuple(row for members in groups.values() for row in members)
