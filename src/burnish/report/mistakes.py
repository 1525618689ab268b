"""Where the chosen model errs on the test rows: confusion, scores a label, the worst rows, calibration, residuals.

The numbers come from `burnish.measure`, over stored predictions; this file only lays them out.
Shapes: N = rows, C = labels.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from burnish.core import Task
from burnish.measure.calibration import confidences, reliability
from burnish.measure.intervals import Estimate, wilson
from burnish.measure.quality import confusion, worst_mistakes
from burnish.report import plots, show
from burnish.report.files import Files
from burnish.report.layout import Figure, Heat, Mistake, Table
from burnish.runs import Predictions
from burnish.words import say

__all__ = ["MOST_LABELS", "Mistakes", "residuals"]

MOST_LABELS = 16  # a larger confusion matrix cannot be read; its heaviest cells are listed instead
MOST_TEXT = 600  # characters of a text that are shown
MOST_BINS = 10
MOST_POINTS = 2000  # a scatter with more says nothing more and weighs megabytes


class Mistakes:
    """All about the errors of one set of predictions; each part is None or empty where it does not apply."""

    def __init__(self, files: Files, task: Task, found: Predictions):
        self.files, self.task, self.found = files, task, found

    @classmethod
    def of(cls, files: Files) -> "Mistakes | None":
        """Of the chosen model on the test rows; None before there is one."""
        found = files.predictions("test-chosen")
        return cls(files, files.task, found) if found and files.task else None

    @cached_property
    def counts(self) -> list[list[int]]:
        """Confusion counts [true][said], or a line a label [right yes, wrong yes, missed, right no]."""
        table = confusion(self.task, self.found.outputs, self.found.targets)
        return table["counts"] if table else []

    @property
    def one_label(self) -> bool:
        return self.task.objective == "cross_entropy"

    def heat(self) -> Heat | None:
        """The confusion matrix, where it is small enough to be read."""
        if not self.one_label or self.task.width > MOST_LABELS:
            return None
        totals = [max(sum(row), 1) for row in self.counts]
        shades = [[n / total for n in row] for row, total in zip(self.counts, totals, strict=True)]
        return Heat(self.task.labels, self.counts, shades)

    def confused(self, most: int = 15) -> Table | None:
        """The label pairs taken for one another most often, where the whole matrix would be too large."""
        if not self.one_label or self.task.width <= MOST_LABELS:
            return None
        cells = [(n, t, s) for t, row in enumerate(self.counts) for s, n in enumerate(row) if n and t != s]
        labels = self.task.labels
        heaviest = sorted(cells, key=lambda c: (-c[0], c[1:]))[:most]
        return Table(
            caption=say("The most frequent confusions; {labels} labels are too many for a matrix.", labels=len(labels)),
            columns=(say("true label"), say("answer"), f"#{say('rows')}"),
            rows=[(labels[t], labels[s], show.count(n)) for n, t, s in heaviest],
        )

    def labels(self) -> Table | None:
        """Precision, recall and F1 of every label."""
        if not self.counts:
            return None
        rows = []
        for label, (hit, wrong, missed) in zip(self.task.labels, self._tallies(), strict=True):
            precision = hit / (hit + wrong) if hit + wrong else None
            recall = hit / (hit + missed) if hit + missed else None
            f1 = 2 * hit / max(2 * hit + wrong + missed, 1)
            rows.append(
                (label, show.count(hit + missed), show.share(precision), show.share(recall), show.number(f1, 3))
            )
        return Table(
            caption=say("Each label on the test rows."),
            columns=(say("label"), f"#{say('rows')}", f"#{say('precision')}", f"#{say('recall')}", "#F1"),
            rows=rows,
        )

    def _tallies(self) -> list[tuple[int, int, int]]:
        """(right, wrongly given, missed) of each label."""
        table = np.array(self.counts)
        if not self.one_label:
            return [(int(a), int(b), int(c)) for a, b, c, _ in table]
        hit_C, said_C, true_C = np.diag(table), table.sum(0), table.sum(1)
        return [(int(h), int(s - h), int(t - h)) for h, s, t in zip(hit_C, said_C, true_C, strict=True)]

    def worst(self, most: int = 10) -> list[Mistake]:
        """The rows the model is most wrong about, worst first."""
        before = self.files.predictions("test-reference")
        said_before = {}
        if before is not None:
            texts = {row.id: row.text for row in self.files.rows("test")}
            said = self.task.decode(before.outputs, [texts.get(i, "") for i in before.ids])
            said_before = dict(zip(before.ids, said, strict=True))
        found = worst_mistakes(
            self.task, self.found.ids, self.found.outputs, self.found.targets, self.files.rows("test"), most
        )
        return [
            Mistake(
                id=one["id"],
                text=_cut(one["text"]),
                pair=None if one["pair"] is None else _cut(one["pair"]),
                true=_told(one["target"]),
                said=_said(one["said"]),
                before=_said(said_before.get(one["id"])),
            )
            for one in found
        ]

    def calibration(self) -> Figure | None:
        """Reliability: the share of right answers against the confidence they were given with."""
        sure = confidences(self.task, self.found.outputs, self.found.targets)
        if sure is None:
            return None
        lines = reliability(*sure, bins=MOST_BINS)
        spread = [wilson(round(line["accuracy"] * line["count"]), int(line["count"])) for line in lines]
        chart = plots.reliability(
            [line["confidence"] for line in lines],
            [line["accuracy"] for line in lines],
            [int(line["count"]) for line in lines],
            [(s.low, s.high) for s in spread],
            title=say("Calibration"),
        )
        heads = ("from", "to", "answers", "confidence", "right", "95 % interval")
        table = Table(
            caption=say("Answers by confidence."),
            columns=[f"#{say(head)}" for head in heads],
            rows=[_bin(line, found) for line, found in zip(lines, spread, strict=True)],
        )
        return Figure((chart,), _calibration_told(self.task, lines), table)

    def scatter(self) -> Figure | None:
        """A regression's answers against the truth."""
        if self.task.objective != "mean_squared_error" or not len(self.found.ids):
            return None
        said, true = self.found.outputs[:, 0].astype(np.float64), self.found.targets.reshape(-1).astype(np.float64)
        every = -(-len(said) // MOST_POINTS)
        chart = plots.scatter(true[::every].tolist(), said[::every].tolist(), title=say("Answers against the truth"))
        heads = ("from", "to", "rows", "mean error", "mean absolute error")
        table = Table(
            caption=say("Errors by true value, in groups of equal count."),
            columns=[f"#{say(head)}" for head in heads],
            rows=[[show.count(v) if head == "rows" else show.number(v, 3) for head, v in zip(heads, group, strict=True)]
                  for group in residuals(said, true)],
        )  # fmt: skip
        return Figure((chart,), say("On the dashed line the answer is exact."), table)


def _bin(line: Mapping[str, float], found: Estimate) -> tuple[str, ...]:
    shares = (show.share(line[key]) for key in ("confidence", "accuracy"))
    spread = show.interval(found.to_json(), "accuracy")
    return show.share(line["low"]), show.share(line["high"]), show.count(line["count"]), *shares, spread


def _calibration_told(task: Task, lines: Sequence[Mapping[str, float]]) -> str:
    rows = sum(line["count"] for line in lines)
    gap = sum(line["count"] * (line["confidence"] - line["accuracy"]) for line in lines) / rows
    told = say("Each dot is the answers of like confidence, with the 95 % interval of the share that is right; the "
               "bars below count them. On the dashed line confidence can be taken at its word.")  # fmt: skip
    if abs(gap) < 0.01:
        return f"{told} {say('On average it can.')}"
    sure = say("On average the model is too sure, by {points} points.")
    modest = say("On average the model is too modest, by {points} points.")
    return f"{told} {(sure if gap > 0 else modest).format(points=show.points(100 * abs(gap)))}"


def residuals(said_N: np.ndarray, true_N: np.ndarray, groups: int = 5) -> list[tuple[float, float, int, float, float]]:
    """Errors by true value, in groups of equal count: (from, to, rows, mean error, mean absolute error)."""
    found = []
    for part in np.array_split(np.argsort(true_N, kind="stable"), min(groups, len(true_N))):
        true, error = true_N[part], said_N[part] - true_N[part]
        found.append(
            (float(true.min()), float(true.max()), len(part), float(error.mean()), float(np.abs(error).mean()))
        )
    return found


def _cut(text: str) -> str:
    more = len(text) - MOST_TEXT
    return say("{text} … ({more} more characters)", text=text[:MOST_TEXT], more=show.count(more)) if more > 0 else text


def _told(target: Any) -> str:
    if isinstance(target, float | int):
        return show.number(float(target), 3)
    return ", ".join(map(str, target)) or say("none") if isinstance(target, list | tuple) else str(target)


def _said(answer: Mapping[str, Any] | None) -> str:
    """What the server would answer, on one line: the label and its probability, the labels, or the value."""
    if answer is None:
        return ""
    if "value" in answer:
        return show.number(answer["value"], 3)
    if "label" in answer:
        return f"{answer['label']} ({show.share(answer['score'])})"
    if "entities" in answer:
        return ", ".join(f"{e['label']}: {e['text']} ({show.share(e['score'])})" for e in answer["entities"]) or say(
            "none"
        )
    if "answer" in answer:
        return f"{answer['answer'] or say('none')} ({show.share(answer['score'])})"
    given = [f"{label} ({show.share(answer['scores'][label])})" for label in answer["labels"]]
    return ", ".join(given) or say("none")
