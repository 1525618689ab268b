"""Who is attacked: the model at hand, where it has learned the task, else a linear model over TF-IDF.

Shapes: N = rows, C = labels.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from burnish.augment._rows import originals
from burnish.core import Rows, Work
from burnish.errors import UsageError, problem
from burnish.measure.baselines import fit_tfidf
from burnish.tasks.scores import softmax
from burnish.train.evaluate import outputs_of_rows
from burnish.words import say

__all__ = ["Odds", "Victim", "victim_of"]

Victim = Literal["auto", "model", "words"]
Odds = Callable[[Rows], np.ndarray]  # probabilities [N, C]

# Rows that tell whether the model has learned anything, and how far above the commonest label that is.
ENOUGH, LEARNED = 200, 0.1
LONGEST = 128  # tokens of a text


def victim_of(work: Work, choice: Victim) -> tuple[Odds, str]:
    """What gives the probabilities, and which of the two it is: "model" or "words".

    Raises UsageError for a task without one label of several, or where the model is asked for and there is none.
    """
    if work.task.objective != "cross_entropy" or getattr(work.task, "reads", "rows") != "rows":
        given = say("an attack on {task}", task=work.task.name)
        raise UsageError(problem(given, say("texts with one label of several each"), "burnish ls augment"))
    if choice == "model" and work.model is None:
        raise UsageError(problem(say("an attack on the model, and no model"), say("a model"), "victim=words"))
    if choice == "model" or (choice == "auto" and work.model is not None and _has_learned(work)):
        return _model_odds(work), "model"
    answer = fit_tfidf(work.task, originals(work.train), 0)
    return lambda rows: softmax(answer(rows)), "words"


def _model_odds(work: Work) -> Odds:
    return lambda rows: softmax(outputs_of_rows(work.model, work.tokenizer, rows, LONGEST))


def _has_learned(work: Work) -> bool:
    rows = list(work.valid or work.train)[:ENOUGH]
    targets_N = work.task.encode(rows)
    right = float((_model_odds(work)(rows).argmax(1) == targets_N).mean())
    return right >= float(np.bincount(targets_N).max()) / len(rows) + LEARNED
