"""Sequence labelling: which words of a text name something, and what. Named entities, slots, chunks.

Scores follow seqeval (and conlleval before it): an entity counts as found when its type and both ends are right. The
relaxed score asks for the type and a common word only.

Shapes: N = texts, W = words, C = tags; outputs are [N, W, C], FILL where a text has no such word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from burnish.core import FILL, Rows, Span
from burnish.tasks.scores import softmax
from burnish.tasks.tags import Entity, entities, rules, tag_ids, tags_of, through, types_of
from burnish.units import IGNORE, padded, same_width, units

__all__ = ["LabelWords", "tags_of"]

KIND = "sequence-labelling"


@dataclass(frozen=True)
class LabelWords:
    """`labels` are the tags in the order of the model's outputs: "O" first, then those that `tags_of` gives."""

    labels: tuple[str, ...]
    pair: bool = False
    metric: str = "f1"
    steps: tuple[tuple[float, ...], ...] = field(default=(), repr=False)  # what a CRF has learned of tag after tag

    METRICS = ("f1", "precision", "recall", "macro_f1", "relaxed_f1", "word_accuracy")
    name = KIND
    objective = "word_cross_entropy"
    reads = "words"

    @property
    def width(self) -> int:
        return len(self.labels)

    @property
    def types(self) -> tuple[str, ...]:
        return types_of(self.labels)

    def encode(self, rows: Rows) -> np.ndarray:
        """The tag of each word, int64 [N, W], IGNORE where there is none."""
        spans = [[part for part in row.target or () if isinstance(part, Span)] for row in rows]  # type: ignore[union-attr]
        ids = [tag_ids(units(row.text), own, self.labels) for row, own in zip(rows, spans, strict=True)]
        return padded(ids, IGNORE).astype(np.int64)

    def read(self, outputs_NWC: np.ndarray) -> np.ndarray:
        """A model's outputs as scores whose best tags spell entities: no I- out of nowhere."""
        learned = np.array(self.steps) if self.steps else 0.0
        return through(outputs_NWC, rules(self.labels) + learned)

    def answers(self, outputs_NWC: np.ndarray) -> list[list[Entity]]:
        """The entities of each text, in words."""
        return [entities(ids_W.tolist(), self.labels) for ids_W in _said(outputs_NWC)]

    def decode(self, outputs_NWC: np.ndarray, texts: Sequence[str] = ()) -> list[dict[str, Any]]:
        """What the server answers: entities with their place in the text and the mean probability of their words."""
        return [
            {"entities": [self._shown(entity, text, units(text), own_WC) for entity in found]}
            for found, text, own_WC in zip(self.answers(outputs_NWC), texts, outputs_NWC, strict=True)
        ]

    def _shown(self, entity: Entity, text: str, where: list[tuple[int, int]], own_WC: np.ndarray) -> dict[str, Any]:
        first, last, name = entity
        start, end = where[first][0], where[last][1]
        score = softmax(own_WC[first : last + 1]).max(1).mean()
        return {"label": name, "start": start, "end": end, "text": text[start:end], "score": round(float(score), 6)}

    def metrics(self, outputs_NWC: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        counts = self._counts(outputs_NWC, targets).sum(0)
        there = targets != IGNORE
        said = _said(outputs_NWC)[:, : targets.shape[1]]
        hit, given, true, near_given, near_true = counts.T
        f1_T = 2 * hit / np.maximum(given + true, 1)
        seen = given + true > 0
        precision, recall = near_given.sum() / max(given.sum(), 1), near_true.sum() / max(true.sum(), 1)
        return {
            "f1": float(2 * hit.sum() / max((given + true).sum(), 1)),
            "precision": float(hit.sum() / max(given.sum(), 1)),
            "recall": float(hit.sum() / max(true.sum(), 1)),
            "macro_f1": float(f1_T[seen].mean()) if seen.any() else 0.0,
            "relaxed_f1": float(2 * precision * recall / max(precision + recall, 1e-12)),
            "word_accuracy": float((said == targets)[there].mean()) if there.any() else 0.0,
        }

    def by_type(self, outputs_NWC: np.ndarray, targets: np.ndarray) -> dict[str, dict[str, int]]:
        """For each type how many were found, given and true: what a table of precision and recall is made of."""
        hit, given, true, *_ = self._counts(outputs_NWC, targets).sum(0).T
        return {
            name: {"found": int(hit[t]), "given": int(given[t]), "true": int(true[t])}
            for t, name in enumerate(self.types)
        }

    def tallies(self, outputs_NWC: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Sums a text from which `of_tallies` makes the primary metric, [N, K]; None where sums do not make it."""
        if self.metric not in ("f1", "precision", "recall", "macro_f1"):
            return None
        return self._counts(outputs_NWC, targets)[:, :, :3].reshape(len(targets), -1).astype(float)

    def of_tallies(self, sums_RK: np.ndarray) -> np.ndarray:
        counts = sums_RK.reshape(len(sums_RK), len(self.types), 3)
        if self.metric == "macro_f1":
            hit, size = counts[:, :, 0], counts[:, :, 1] + counts[:, :, 2]
            seen = size > 0
            return np.asarray((2 * hit / np.maximum(size, 1)).sum(1) / np.maximum(seen.sum(1), 1))
        hit, given, true = counts.sum(1).T
        below = {"f1": (given + true) / 2, "precision": given, "recall": true}[self.metric]
        return np.asarray(hit / np.maximum(below, 0.5))

    def _counts(self, outputs_NWC: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """[N, T, 5]: found, given, true, given that touch a true one of the type, true that are touched."""
        index = {name: t for t, name in enumerate(self.types)}
        counts = np.zeros((len(targets), len(index), 5), dtype=np.int64)
        for n, (said, true_W) in enumerate(zip(self.answers(outputs_NWC), targets, strict=True)):
            true = entities(np.maximum(true_W, 0).tolist(), self.labels)
            exact = set(true)
            for entity in said:
                counts[n, index[entity[2]], [0, 1, 3]] += [entity in exact, 1, _touches(entity, true)]
            for entity in true:
                counts[n, index[entity[2]], [2, 4]] += [1, _touches(entity, said)]
        return counts

    def losses(self, outputs_NWC: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """How wrong each text is, [N]: how far its true tags score below the best ones; 0 when all are right."""
        there_NW = targets != IGNORE
        true_NW = np.take_along_axis(outputs_NWC, np.maximum(targets, 0)[:, :, None], 2)[:, :, 0]
        gap_NW = outputs_NWC.max(2).astype(np.float64) - true_NW
        return np.where(there_NW, gap_NW, 0).sum(1) + (there_NW & (_said(outputs_NWC) != targets)).sum(1) * 1e-9

    def score(self, outputs_NWC: np.ndarray, targets: np.ndarray) -> float:
        return self.metrics(outputs_NWC, targets)[self.metric]

    def flips(self, a_NWC: np.ndarray, b_NWC: np.ndarray) -> np.ndarray:
        """Which texts get other entities, bool [N]."""
        a_NWC, b_NWC = same_width(a_NWC, b_NWC)
        return np.asarray((_said(a_NWC) != _said(b_NWC)).any(1))

    def to_json(self) -> dict[str, Any]:
        facts = {"name": self.name, "labels": list(self.labels), "pair": self.pair, "metric": self.metric}
        return {**facts, "steps": [list(line) for line in self.steps]} if self.steps else facts


def _said(outputs_NWC: np.ndarray) -> np.ndarray:
    """The best tag of each word, [N, W]; words that are not there are outside."""
    return np.where(outputs_NWC[:, :, 0] == FILL, 0, outputs_NWC.argmax(2))


def _touches(entity: Entity, others: Sequence[Entity]) -> bool:
    return any(entity[2] == o[2] and entity[0] <= o[1] and o[0] <= entity[1] for o in others)


TASK = LabelWords
