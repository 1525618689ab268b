"""When a row may leave a model early, and how sure one can be that its answer is the full model's.

Papers: Liu et al., "FastBERT", ACL 2020, arXiv:2004.02178 (normalised entropy); Zhou et al., "BERT Loses Patience",
NeurIPS 2020, arXiv:2006.04152 (patience, and for numbers the distance between two exits); Clopper & Pearson, "The
use of confidence or fiducial limits", Biometrika 1934 (the bound); Angelopoulos et al., "Learn then Test", 2021,
arXiv:2110.01052 (settings tried in a fixed order, so that choosing among them costs no confidence).

One rule, in numpy: what was calibrated, what torch does and what the server does cannot differ.

Shapes: E = exits so far, N = rows, C = outputs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["Proof", "Rule", "at_least", "calibrate", "left_at", "rows_needed", "rules", "said", "uncertainty"]

KINDS = ("entropy", "patience", "difference")
# Thresholds to try, strictest first, chosen before any row is seen.
STEPS = 300


@dataclass(frozen=True)
class Rule:
    """When a row leaves, by kind.

    entropy: its normalised entropy is below the threshold (0..1). patience: its last `threshold` answers each repeated
    the one before. difference: its value moved by less than the threshold since the exit before.
    """

    kind: str
    threshold: float
    objective: str  # the task's

    def leaves(self, said: Sequence[np.ndarray]) -> np.ndarray:
        """Which rows leave now, bool [N], given the outputs [N, C] of every exit that they have passed."""
        none_N = np.zeros(len(said[-1]), dtype=bool)
        if self.kind == "entropy":
            return uncertainty(said[-1], self.objective) < self.threshold
        if self.kind == "difference":
            return np.abs(said[-1] - said[-2]).max(1) < self.threshold if len(said) > 1 else none_N
        patience = int(self.threshold)
        if len(said) <= patience:
            return none_N
        answers = [_answer(outputs_NC, self.objective) for outputs_NC in said[-patience - 1 :]]
        return np.all([(a == answers[-1]).all(1) for a in answers], axis=0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> "Rule":
        return Rule(str(facts["kind"]), float(facts["threshold"]), str(facts["objective"]))


def uncertainty(outputs_NC: np.ndarray, objective: str) -> np.ndarray:
    """Normalised entropy, 0..1, float64 [N]; with a yes or no for each label, that of the least certain one."""
    x_NC = outputs_NC.astype(np.float64)
    if objective == "binary_cross_entropy":
        p_NC = 0.5 * (1 + np.tanh(0.5 * x_NC))
        return np.asarray((_plogp(p_NC) + _plogp(1 - p_NC)).max(1) / math.log(2))
    e_NC = np.exp(x_NC - x_NC.max(1, keepdims=True))
    return np.asarray(_plogp(e_NC / e_NC.sum(1, keepdims=True)).sum(1) / math.log(x_NC.shape[1]))


def _plogp(p: np.ndarray) -> np.ndarray:
    return -p * np.log(np.maximum(p, 1e-300))


def _answer(outputs_NC: np.ndarray, objective: str) -> np.ndarray:
    return outputs_NC.argmax(1)[:, None] if objective == "cross_entropy" else outputs_NC > 0


def left_at(rule: Rule, said_ENC: np.ndarray) -> np.ndarray:
    """At which exit each row leaves, int64 [N]; E for those that go to the end."""
    exits, rows, _ = said_ENC.shape
    found_N = np.full(rows, exits)
    for e in range(exits):
        found_N[(found_N == exits) & rule.leaves(list(said_ENC[: e + 1]))] = e
    return found_N


def said(rule: Rule, said_ENC: np.ndarray, final_NC: np.ndarray) -> np.ndarray:
    """The outputs that each row leaves with, [N, C]."""
    whole = np.concatenate([said_ENC, final_NC[None]])
    return np.asarray(whole[left_at(rule, said_ENC), np.arange(len(final_NC))])


# -- how sure -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """A rule, and what the calibration rows say about it."""

    rule: Rule
    agreeing: int  # rows with the full model's answer
    rows: int
    bound: float  # the share of all rows that agree is at least this, with the confidence asked for
    asked: float


def at_least(hits: int, rows: int, confidence: float) -> float:
    """One-sided lower Clopper-Pearson bound of a share: `hits` of `rows`."""
    if hits == 0:
        return 0.0
    from scipy.stats import beta

    return float(beta.ppf(1 - confidence, hits, rows - hits + 1))


def rows_needed(share: float, confidence: float) -> int:
    """The fewest rows that can prove `share`, if every one of them agrees."""
    return math.ceil(math.log(1 - confidence) / math.log(share))


def rules(kind: str, objective: str, exits: int, unit: float) -> list[Rule]:
    """Rules from strict to lenient. `unit` is the standard deviation of the targets, for differences."""
    if kind == "patience":
        return [Rule(kind, float(t), objective) for t in range(exits - 1, 0, -1)]
    return [
        Rule(kind, float(t) * (unit if kind == "difference" else 1), objective) for t in np.geomspace(1e-4, 1, STEPS)
    ]


def calibrate(
    tried: Sequence[Rule],
    never: Rule,
    said_ENC: np.ndarray,
    final_NC: np.ndarray,
    same: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    agree: float,
    confidence: float,
) -> Proof:
    """The most lenient rule of `tried` with which a share `agree` of all rows keeps the full model's answer.

    The rules are tried in their order and the first that fails ends the search, which keeps the confidence whatever
    their number. Where even rows that all agree are too few to prove `agree`, the rule must make none disagree, and
    `bound` says what that proves. `never` lets nobody leave. `same(a_NC, b_NC)` is bool [N].
    """
    rows = len(final_NC)
    can_prove = at_least(rows, rows, confidence)
    best = Proof(never, rows, rows, 1.0, agree)  # nobody leaves: nothing to prove
    for rule in tried:
        agreeing = int(same(final_NC, said(rule, said_ENC, final_NC)).sum())
        bound = at_least(agreeing, rows, confidence)
        if bound < min(agree, can_prove):
            break
        if (left_at(rule, said_ENC) < len(said_ENC)).any():
            best = Proof(rule, agreeing, rows, bound, agree)
    return best
