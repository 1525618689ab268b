"""Very few rows: tune fully, try the cheap rivals as well, and keep what does best on rows it has not learned from.

no paper: model selection by repeated cross-validation with the paired tests of burnish.measure.intervals. The p values
of several repeats are joined as twice their median (Meinshausen, Meier, Bühlmann, "p-Values for High-Dimensional
Regression", JASA 2009, arXiv:0811.2177), then made good for the number of rivals (Holm).

With `enough` validation rows each rival is trained once and compared there. With fewer, training and validation rows
are dealt into folds; each fold is answered by rivals that learned from the others, and the winner is then trained on
the training rows. The highest score wins, on the first of equals; the table says how sure that is. A rival that
refuses the task is left out with its own words.

When it helps: below a thousand rows, where full tuning, a frozen encoder and contrastive tuning each win on some data.
What it costs: every rival once, or folds x repeats times; no more repeats than it takes to tell them apart. With a
time limit at most half of the time goes into folds.

Shapes: N = rows, C = outputs.
"""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np

from burnish import catalog
from burnish.core import Desk, Rng, Row, Step, Work, desk, lend
from burnish.data.family import parted
from burnish.errors import BurnishError, UsageError, problem
from burnish.runs import read_json, write_json
from burnish.train.evaluate import outputs_of_rows
from burnish.tune._contest import Answers, Table, deal
from burnish.words import say

__all__ = ["FewRows"]


@dataclass(frozen=True)
class FewRows:
    rivals: tuple[str, ...] = ("tune/finetune", "tune/frozen", "tune/setfit")  # as after --with; the usual one first
    most: int = 1000  # rows to learn from; above that the first rival runs alone
    enough: int = 100  # validation rows from which on those alone decide
    folds: int = 3
    repeats: int = 3  # of dealing the folds, at most

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("rivals", self.rivals, bool(self.rivals), say("one or more")),
            ("folds", self.folds, self.folds >= 2, say("2 or more")),
            ("repeats", self.repeats, self.repeats >= 1, say("1 or more")),
        ):
            if not good:
                raise UsageError(problem(say("{name} {value}", name=name, value=value), expected, "tune/few_rows"))
        for rival in self.rivals:
            if not callable(_built(rival)) or catalog.parse(rival)[0].endswith("few_rows"):
                given = say("'{rival}' cannot be a rival", rival=rival)
                raise UsageError(problem(given, say("a step that tunes"), "tune/finetune, tune/frozen, tune/setfit"))

    def __call__(self, work: Work, rng: Rng) -> Work:
        contest = _Contest(self.rivals, work, rng.getrandbits(64))
        why = self._alone(work)
        if why:
            made = contest.train(0, work, "winner", (0.0, 1.0), math.inf)
            return replace(made, notes={**made.notes, "reasons": [why, *made.notes.get("reasons", ())]})
        begin = time.monotonic()
        if len(work.valid) >= self.enough:
            table, made = self._once(contest, work)
        else:
            table = self._crossed(contest, work)
            made = contest.train(table.best, work, "winner", (0.8, 0.2), math.inf)
        facts = {
            "winner": self.rivals[table.best],
            "rivals": table.rows(contest.refused),
            "compared_on": table.ground,
            "compared_seconds": time.monotonic() - begin,
        }
        reasons = [*table.sentences(), *contest.sentences(), *made.notes.get("reasons", ())]
        return replace(made, notes={**made.notes, **facts, "reasons": reasons})

    def _alone(self, work: Work) -> str:
        """Why nothing is compared; "" when something is."""
        n, first = len(work.train), self.rivals[0]
        if len(self.rivals) == 1:
            return say("{rival}: it has no rival", rival=first)
        if work.task.reads != "rows":
            return say("{rival} alone: its rivals learn one answer a row", rival=first)
        if n > self.most:
            return say("{rival} alone: {n} rows, more than {most}", rival=first, n=n, most=self.most)
        return say("{rival} alone: the time was used up", rival=first) if desk().seconds_left() < 0 else ""

    def _once(self, contest: "_Contest", work: Work) -> tuple[Table, Work]:
        """Every rival on the training rows, compared on the validation rows; the winner is already trained."""
        made: dict[int, Work] = {}
        answers = Answers(work.task.encode(work.valid))
        for i in range(len(self.rivals)):
            share = 1 / len(self.rivals)
            trained = contest.try_(i, work, f"{i}", (i * share, share), desk().seconds_left() / (len(self.rivals) - i))
            if trained is not None:
                made[i] = trained
                answers.add(0, i, np.arange(len(work.valid)), _outputs(trained, work.valid))
        contest.need(made)
        table = Table(work.task, self.rivals, answers, say("{n} validation rows", n=len(work.valid)))
        return table, made[table.best]

    def _crossed(self, contest: "_Contest", work: Work) -> Table:
        """Every rival on all folds but one, for each fold, until they can be told apart or half of the time is gone."""
        pool, children = parted([*work.train, *work.valid])  # nobody is measured on made rows
        answers, until, longest = Answers(work.task.encode(pool)), time.monotonic() + desk().seconds_left() / 2, 0.0
        for turn in range(self.repeats * self.folds):
            repeat, fold = divmod(turn, self.folds)
            begin = time.monotonic()
            if turn and (until - begin < longest or (fold == 0 and self._told_apart(work, answers))):
                break
            part_N = deal(answers.targets, self.folds, np.random.default_rng([contest.seed, repeat]))
            held_N = np.flatnonzero(part_N == fold)
            inner = _without(work, pool, children, set(held_N.tolist()), contest.seed + turn)
            for i in contest.standing():
                left = len(self.rivals) - i
                share = (0.8 * (turn + i / len(self.rivals)) / (self.repeats * self.folds), 0.0)
                said_NC = contest.answers(i, inner, [pool[n] for n in held_N], f"{turn}-{i}", share, until, left)
                if said_NC is None:
                    answers.forget(i)
                else:
                    answers.add(repeat, i, held_N, said_NC)
            contest.need(contest.standing())
            longest = max(longest, time.monotonic() - begin)
        ground = say("{n} rows in {k} folds, {r} times", n=len(pool), k=self.folds, r=answers.complete())
        return Table(work.task, self.rivals, answers, ground)

    def _told_apart(self, work: Work, answers: Answers) -> bool:
        return Table(work.task, self.rivals, answers, "").is_clear()


class _Contest:
    """Trains rivals, each at a desk of its own, and remembers who refused, and what was answered before a kill."""

    def __init__(self, rivals: tuple[str, ...], work: Work, seed: int):
        self.names, self.steps, self.seed = rivals, [_built(r) for r in rivals], seed
        self.refused: dict[int, BurnishError] = {}

    def standing(self) -> list[int]:
        return [i for i in range(len(self.names)) if i not in self.refused]

    def need(self, left: Any) -> None:
        """Raise what the first rival raised when none is left."""
        if not left:
            raise self.refused[0]

    def sentences(self) -> list[str]:
        text = "{rival} is left out: {why}"
        return [say(text, rival=self.names[i], why=str(e).splitlines()[0]) for i, e in self.refused.items()]

    def train(self, i: int, work: Work, place: str, share: tuple[float, float], seconds: float) -> Work:
        with lend(_desk_for(place, self.names[i], share, seconds)):
            return self.steps[i](work, Random(f"{self.seed}/{place}/{self.names[i]}"))

    def try_(self, i: int, work: Work, place: str, share: tuple[float, float], seconds: float) -> Work | None:
        try:
            return self.train(i, work, place, share, seconds)
        except BurnishError as error:
            self.refused[i] = error
            return None

    def answers(
        self, i: int, work: Work, rows: list[Row], place: str, share: tuple[float, float], until: float, left: int
    ) -> np.ndarray | None:
        """Outputs [N, C] on `rows` of rival `i` trained on `work`; None when it refused."""
        folder = desk().folder
        kept = None if folder is None else folder / f"{place}.json"
        if kept is not None and kept.is_file():
            return np.array(read_json(kept), dtype=np.float32)
        made = self.try_(i, work, place, share, (until - time.monotonic()) / left)
        said_NC = None if made is None else _outputs(made, rows)
        if folder is not None and kept is not None and said_NC is not None:
            write_json(kept, said_NC.tolist())
            shutil.rmtree(folder / place, ignore_errors=True)  # its checkpoints, hundreds of megabytes each
        return said_NC


def _built(rival: str) -> Step:
    return catalog.build(*catalog.parse(rival))


def _outputs(made: Work, rows: Any) -> np.ndarray:
    return outputs_of_rows(made.model, made.tokenizer, rows, made.tokenizer.model_max_length, task=made.task)


def _without(work: Work, pool: list[Row], children: list[Row], held: set[int], seed: int) -> Work:
    """`work` with the rows of `pool` that are not held out, dealt into training and validation rows in like shares.

    Rows made from others are where their original is learned from, and nowhere else.
    """
    rest = [row for n, row in enumerate(pool) if n not in held]
    parts = max(2, round(len(pool) / len(work.valid)))
    part_N = deal(work.task.encode(rest), parts, np.random.default_rng(seed))
    train = [row for row, part in zip(rest, part_N, strict=True) if part]
    valid = [row for row, part in zip(rest, part_N, strict=True) if not part]
    away = {row.id for row in pool} - {row.id for row in train}
    made = [row for row in children if row.parent not in away]
    return replace(work, train=[*train, *made], valid=valid)


def _desk_for(place: str, name: str, share: tuple[float, float], seconds: float) -> Desk:
    """A desk of its own for one training: a folder, a part of the progress, and at most so many seconds."""
    here = desk()
    tell: Callable[..., None] = here.report
    begin, width = share
    return Desk(
        folder=None if here.folder is None else here.folder / place,
        report=lambda what, part, facts: tell(f"{name}: {what}", begin + width * part, facts),
        deadline=None if here.deadline is None else min(here.deadline, time.monotonic() + seconds),
    )
