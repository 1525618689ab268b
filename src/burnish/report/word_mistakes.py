"""Where a model errs whose labels are on words: each type of entity, and what kind of error it was; answers alike.

Kinds after Nguyen, Khatwani et al. and SemEval's MUC scheme: an entity is found, its type or its border is wrong, it is
missed, or there is none. Each is counted once.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from burnish.report import show
from burnish.report.layout import Table
from burnish.runs import Predictions
from burnish.tasks.tags import Entity, entities
from burnish.words import say

__all__ = ["kinds", "types"]

KINDS = ("found", "wrong type", "wrong border", "wrong type and border", "missed", "made up")
ANSWERS = ("exact", "partly", "wrong", "none given", "given where there is none", "none, rightly")


def types(task: Any, found: Predictions) -> Table | None:
    """Precision, recall and F1 of every entity type."""
    if task.reads != "words":
        return None
    rows = []
    for name, count in task.by_type(found.outputs, found.targets).items():
        hit, given, true = count["found"], count["given"], count["true"]
        precision, recall = hit / given if given else None, hit / true if true else None
        f1 = 2 * hit / max(given + true, 1)
        rows.append((name, show.count(true), show.share(precision), show.share(recall), show.number(f1, 3)))
    return Table(
        caption=say("Each type of entity on the test rows."),
        columns=(say("type"), f"#{say('entities')}", f"#{say('precision')}", f"#{say('recall')}", "#F1"),
        rows=rows,
    )


def kinds(task: Any, found: Predictions) -> Table | None:
    """How many of each kind of error."""
    if task.reads == "words":
        counts, names = _of_entities(task, found), KINDS
        caption = say("What became of the entities of the test rows.")
    elif task.reads == "answers":
        counts, names = _of_answers(task, found), ANSWERS
        caption = say("What became of the questions of the test rows.")
    else:
        return None
    total = max(sum(counts.values()), 1)
    rows = [(say(name), show.count(counts[name]), show.share(counts[name] / total)) for name in names]
    return Table(caption=caption, columns=(say("kind"), f"#{say('count')}", f"#{say('share')}"), rows=rows)


def _of_entities(task: Any, found: Predictions) -> Counter[str]:
    counts: Counter[str] = Counter()
    for said, target_W in zip(task.answers(found.outputs), found.targets, strict=True):
        counts += kinds_of(said, entities(np.maximum(target_W, 0).tolist(), task.labels))
    return counts


def kinds_of(said: Sequence[Entity], true: Sequence[Entity]) -> Counter[str]:
    """Each true entity once, by the best match among those given; and those given that touch none."""
    counts: Counter[str] = Counter()
    for first, last, name in true:
        near = [s for s in said if s[0] <= last and first <= s[1]]
        if (first, last, name) in near:
            counts["found"] += 1
        elif any(s[:2] == (first, last) for s in near):
            counts["wrong type"] += 1
        elif any(s[2] == name for s in near):
            counts["wrong border"] += 1
        else:
            counts["wrong type and border" if near else "missed"] += 1
    counts["made up"] += sum(not any(s[0] <= t[1] and t[0] <= s[1] for t in true) for s in said)
    return counts


def _of_answers(task: Any, found: Predictions) -> Counter[str]:
    return Counter(task.verdicts(found.outputs, found.targets))
