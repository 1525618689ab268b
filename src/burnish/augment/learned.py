"""A learned policy: pairs of operations, each with a probability and a magnitude, found by trying.

Paper: Ren, Zhang, Li, Sun, Zhou, "Text AutoAugment: Learning Compositional Augmentation Policy for Text
Classification", EMNLP 2021, arXiv:2109.00523 (the space: sub-policies of two operations); the search is the
tree-structured Parzen estimator of Bergstra, Bardenet, Bengio, Kegl, NIPS 2011, by Optuna.
Differs from it: tried on a linear model on frozen vectors (_proxy.py), not on a tuned one; one sub-policy is one trial
and the best few of them make the policy; it must then be better than none on splits that nobody was chosen by.

When it helps: hardly more often than augment/auto, which is the first to try; their paper has gains on small sets.
What it costs: `trials` x `splits` fits of a linear model, and one forward pass for each new row that is tried.
Needs: pip install "burnish[search]", for the search alone: a policy that is given needs nothing.

A sub-policy is written 'synonyms@0.5x2+typos@0.3x1': operation @ probability x magnitude, in turn.
Shapes: none; see _edits.py.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from burnish.augment._change import edits_between
from burnish.augment._edits import Edit, carried
from burnish.augment._filters import checked
from burnish.augment._proxy import Arm, Proxy
from burnish.augment._race import confirmed, race, told
from burnish.augment._rows import Editing, grown
from burnish.augment.auto import built, check_counts, plain
from burnish.core import Rng, Row, Work, desk, name_of
from burnish.errors import BurnishError, Missing, UsageError, problem
from burnish.words import say

__all__ = ["Learned"]

USUAL = ("aeda", "synonyms", "random_insertion", "random_swap", "random_deletion", "typos", "keyboard")
MAGNITUDES = (0.5, 1.0, 2.0, 3.0)  # multiples of an operation's own alpha
PART = re.compile(r"(\w+)@(\d*\.?\d+)x(\d*\.?\d+)")


@dataclass(frozen=True)
class Learned:
    policy: tuple[str, ...] = ()  # such as synonyms@0.5x2+typos@0.3x1; none: it is searched for
    operations: tuple[str, ...] = ()  # to search among, such as aeda,synonyms:own=words.txt; none: the usual ones
    ratio: float = 1.0  # new rows as a share of the original ones, 0.2 to 2 as a rule
    trials: int = 30  # sub-policies that are tried, 2 or more
    keep: int = 3  # of the best of them that make the policy, 1 or more
    splits: int = 2  # of the training rows for each trial, 2 or more
    confirm: int = 12  # fresh splits on which the policy must be better than none, 2 or more
    rows: int = 400  # at most so many training rows are used to search with
    filters: tuple[str, ...] = ("usual",)  # what a new row may not be, such as usual, meaning or label:tau=0.6
    weight: float = 1.0  # of a new row in training
    smoothing: float = 0.0  # of a new row's label, 0 up to 1

    def __post_init__(self) -> None:
        checked(self.filters)
        check_counts(trials=self.trials, splits=self.splits, confirm=self.confirm, rows=self.rows)
        if self.keep < 1:
            raise UsageError(problem(say("keep {n}", n=self.keep), say("1 or more"), "keep=3"))
        for text in self.operations or USUAL:
            if not hasattr(built(text), "alpha") or not hasattr(built(text), "edits"):
                given = say("'{name}' has no magnitude", name=text)
                raise UsageError(problem(given, say("operations with a setting alpha"), ", ".join(USUAL)))
        for text in self.policy:
            _parts(text, self.operations)

    def __call__(self, work: Work, rng: Rng) -> Work:
        if self.policy:
            return grown(work, self, self, name_of(self), rng)
        proxy = Proxy(work, self.rows, rng.getrandbits(32))
        arms = self._searched(proxy)
        best = [arm.name for arm in sorted(arms, key=lambda a: -a.mean) if arm.gains and arm.mean > 0][: self.keep]
        whole = replace(self, policy=tuple(best))
        arm, last = Arm(say("the policy"), (whole,)), None
        if best and race(proxy, [arm], self.splits):
            last = confirmed(proxy, arm, self.confirm)
        notes = told(proxy, [*arms, arm] if best else arms, last)
        if not arm.chosen:
            return replace(work, notes={**work.notes, **notes, "new": 0, "picked": []})
        made = whole(replace(work, notes={}), rng)
        return replace(made, notes={**made.notes, **notes, "picked": [plain(whole)]})

    def edits(self, row: Row, rng: Rng) -> list[Edit]:
        """Those of a sub-policy, drawn anew for each copy: what its operations did in turn, as edits of the row."""
        now = row
        for operation, probability in _parts(rng.choice(self.policy), self.operations):
            if rng.random() < probability:
                text, target = carried(now, operation.edits(now, rng))
                now = replace(now, text=text, target=target)  # type: ignore[arg-type]
        return edits_between(row.text, now.text)

    def _searched(self, proxy: Proxy) -> list[Arm]:
        """An arm for each sub-policy that was tried."""
        optuna = _optuna()
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=proxy.seed))
        names, arms = self._usable(proxy), dict[str, Arm]()
        for number in range(self.trials):
            if desk().seconds_left() < 0 and arms:
                break
            desk().report(say("searching a policy"), number / self.trials, {})
            trial = study.ask()
            text = "+".join(_suggested(trial, names, place) for place in ("first", "second"))
            arm = arms.setdefault(text, Arm(text, (replace(self, policy=(text,)),)))
            study.tell(trial, self._tried(proxy, arm))
        return list(arms.values())

    def _tried(self, proxy: Proxy, arm: Arm) -> float:
        """The mean gain; a sub-policy that changes nothing brings nothing."""
        try:
            for turn in range(self.splits):
                proxy.try_(arm, turn)
        except BurnishError as error:
            arm.why = str(error).splitlines()[0]
        return arm.mean

    def _usable(self, proxy: Proxy) -> list[str]:
        """Names of the operations that have what they need, and can change some of these rows."""
        found = []
        for text in self.operations or USUAL:
            arm = Arm(text, (replace(built(text), ratio=0.2),))  # type: ignore[type-var]
            try:
                proxy.made(arm, proxy.rows, [], 0)
                found.append(name_of(arm.steps[0]).partition("/")[2])
            except BurnishError:
                continue
        if not found:
            given = say("none of {names} can change these rows", names=", ".join(self.operations or USUAL))
            raise UsageError(problem(given, say("operations for texts such as these"), "operations=aeda,typos"))
        return found


def _suggested(trial: Any, names: list[str], place: str) -> str:
    name = trial.suggest_categorical(f"{place}", names)
    probability = trial.suggest_float(f"{place}_probability", 0.1, 1.0, step=0.1)
    magnitude = trial.suggest_categorical(f"{place}_magnitude", MAGNITUDES)
    return f"{name}@{probability:.1f}x{magnitude:g}"


@lru_cache(maxsize=1024)
def _parts(text: str, operations: tuple[str, ...]) -> tuple[tuple[Editing, float], ...]:
    """The operations of a sub-policy with their probabilities. Raises UsageError for what cannot be read."""
    known = {name_of(built(one)).partition("/")[2]: built(one) for one in operations or USUAL}
    found: list[tuple[Editing, float]] = []
    for part in text.split("+"):
        read = PART.fullmatch(part.strip())
        if read is None or read[1] not in known or not 0 < float(read[2]) <= 1 or not float(read[3]) > 0:
            given = say("'{part}' is no part of a policy", part=part)
            expected = say("OPERATION@PROBABILITYxMAGNITUDE, of: {known}", known=", ".join(known))
            raise UsageError(problem(given, expected, "policy=aeda@0.5x1+typos@0.3x2"))
        step: Any = known[read[1]]
        found.append((replace(step, alpha=min(1.0, step.alpha * float(read[3]))), float(read[2])))
    return tuple(found)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        given = say("optuna is not installed")
        raise Missing(problem(given, say("it, to search for a policy"), 'pip install "burnish[search]"')) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
