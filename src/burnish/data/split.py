"""Rows into train, valid and test: no text stands on two sides, and each side has its share of every label.

Rows whose texts are the same after normalising (case, blanks, punctuation; the two texts of a pair in either
order) form a group, and a group stays whole; so do all questions that are asked of one text. Where a group goes is
decided by a hash of its text and the seed, so the split is a function of the content and the seed alone: the order of
the file does not matter, and rows that are added later hardly move the others.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.core import Row, Span
from burnish.data.family import ORPHAN, children_of, key_of, parted
from burnish.data.kind import are_answers, labels_of
from burnish.data.text import normalise
from burnish.errors import DataError, UsageError, nearest, problem
from burnish.words import say

__all__ = ["Splits", "content_hash", "group_key", "grouping", "labels_of", "split", "with_test"]

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


def split(rows: Sequence[Row], *, valid: float | None = None, test: float | None = None, seed: int = 0) -> Splits:
    """Cut rows in three. `valid` and `test` are shares of all rows, 0..1; by default 15 % and 20 %, capped.

    Each label keeps its share on each side as far as whole groups allow (regression: each tenth of the
    values; multi-label and entities: each set of labels, or the rarest label of a rare set; answers: how many
    questions of a context have one), and one group stays in train.
    The rows of each side come in hash order, which is random for any purpose but the same every time.
    Raises UsageError for shares that leave nothing to train on, DataError when a side would be empty.
    """
    test_share = min(TEST_SHARE, TEST_CAP / max(len(rows), 1)) if test is None else test
    valid_share = min(VALID_SHARE, VALID_CAP / max(len(rows), 1)) if valid is None else valid
    if min(test_share, valid_share) < 0 or test_share + valid_share >= 1:
        given = say("shares of {valid} for valid and {test} for test", valid=valid_share, test=test_share)
        raise UsageError(problem(given, say("shares of 0 or more that add up to less than 1"), "0.15, 0.2"))
    rows, made = parted(rows)
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
    return _with_children(found, made) if made else found


def _with_children(found: Splits, made: Sequence[Row]) -> Splits:
    """Rows that augmentation made join their originals in train; those of a row held out are left out."""
    joined = children_of(found.train, (*found.valid, *found.test), made)
    note = say("{n} rows were made by augmentation and stay with their originals in train", n=len(joined))
    if len(joined) < len(made):
        note += say("; {n} were made from rows held out, and are left out", n=len(made) - len(joined))
    return replace(found, train=(*found.train, *joined), notes=(*found.notes, note))


def with_test(train: Sequence[Row], test: Sequence[Row], *, valid: float | None = None, seed: int = 0) -> Splits:
    """As `split`, but the test rows are given and stay as they are, in their order.

    Rows of `train` whose text is among the test rows are taken out and counted in the notes.
    Raises DataError for test labels that train does not have, and when nothing is left to train on.
    """
    test = parted(test)[0]  # what is measured on is what people wrote
    key = grouping([*train, *test])
    held = {key(row) for row in test}
    kept = [row for row in train if key(row) not in held]
    gone = {row.id for row in train if key(row) in held} | {f"{ORPHAN}{key_of(r.text, r.pair)}" for r in test}
    kept = [row for row in kept if row.parent not in gone]  # what was made of a test row tells of it
    if not kept:
        given = say("all {count} training rows are also in the test file", count=len(train))
        raise DataError(problem(given, say("a test file with texts of its own"), say("leave --test out for a split")))
    _refuse_unknown_labels(kept, test)
    removed = len(train) - len(kept)
    notes = (
        (say("{count} training rows have the text of a test row and were left out", count=removed),) if removed else ()
    )
    found = split(kept, valid=valid, test=0.0, seed=seed)
    return replace(found, test=tuple(test), notes=(*notes, *found.notes))


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


def grouping(rows: Sequence[Row]) -> Callable[[Row], str]:
    """The key of what must not be parted among these rows: `group_key`, or the context where it answers questions."""
    return _context_key if are_answers(rows) else group_key


def _context_key(row: Row) -> str:
    return normalise(row.text)


Groups = Mapping[str, Sequence[Row]]  # by group key, in hash order


def _groups(rows: Sequence[Row], seed: int) -> Groups:
    found: dict[str, list[Row]] = defaultdict(list)
    key = grouping(rows)
    for row in rows:
        found[key(row)].append(row)
    for members in found.values():
        members.sort(key=lambda row: (row.text, row.pair or "", str(row.target), row.id))
    return {key: found[key] for key in sorted(found, key=lambda key: _rank(key, seed))}


def _rank(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogatepass")).digest()


def _strata(groups: Groups) -> dict[str, str]:
    """Group key -> name of the stratum whose share must be kept."""
    rows = [row for members in groups.values() for row in members]
    if are_answers(rows):
        return {key: _answered(members) for key, members in groups.items()}
    targets = {key: _typical(members) for key, members in groups.items()}
    if any(isinstance(target, float) for target in targets.values()):
        return _bins(targets)
    if any(isinstance(target, tuple) for target in targets.values()):
        return _label_sets({key: _names(target) for key, target in targets.items()})
    return {key: str(target) for key, target in targets.items()}


def _answered(members: Sequence[Row]) -> str:
    """How many questions of one context have an answer, in quarters."""
    return f"{round(4 * sum(bool(row.target) for row in members) / len(members))}/4"


def _names(target: tuple[Any, ...]) -> tuple[str, ...]:
    """The labels of a set; the different types of the spans, sorted."""
    return tuple(dict.fromkeys(sorted(part.label if isinstance(part, Span) else part for part in target)))


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
