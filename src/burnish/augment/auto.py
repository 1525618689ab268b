"""Choose a technique: try those that suit the rows on a cheap stand-in for training, and take the best, or none.

Paper: the race is that of Jamieson, Talwalkar, AISTATS 2016, arXiv:1502.07943 (_race.py); the proxy and its interval
are in _proxy.py. That a technique must beat as much training without it: Longpre, Wang, DuBois, arXiv:2010.01764.
Differs from searches for policies: techniques alone, each with one or two amounts; see augment/learned for two in
turn. Whoever leads must be better than none on splits that it was not chosen by, or the rows stay as they are.

When it helps: where nobody knows which technique suits the rows; often the answer is none, and that is worth knowing.
What it costs: some hundred fits of a linear model, and one forward pass for each new row that is tried: a minute or two
with a small encoder. It sees what frozen vectors show; a fit then measures the choice on the tuned model.
Needs: nothing; techniques whose resources are missing are left out, and the notes say so.

Shapes: none; see _proxy.py.
"""

from dataclasses import dataclass, replace
from typing import Any

from burnish import catalog
from burnish.augment._proxy import Arm, Proxy
from burnish.augment._race import confirmed, race, told
from burnish.core import Rng, Step, Work, describe, name_of
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["Auto"]

USUAL = (
    "augment/aeda", "augment/eda", "augment/synonyms", "augment/random_insertion", "augment/random_swap",
    "augment/random_deletion", "augment/typos", "augment/keyboard", "augment/homophones", "augment/lookalikes",
)  # fmt: skip


@dataclass(frozen=True)
class Auto:
    techniques: tuple[str, ...] = ()  # such as aeda,synonyms:own=words.txt; none: those that need no model
    ratios: tuple[float, ...] = (0.5, 2.0)  # how many new rows, as shares of the original ones; each is tried
    splits: int = 3  # of the training rows for each arm in each heat, 2 or more
    confirm: int = 12  # fresh splits on which the winner must be better than none, 2 or more
    rows: int = 400  # at most so many training rows are used to choose with

    def __post_init__(self) -> None:
        check_counts(splits=self.splits, confirm=self.confirm, rows=self.rows)
        if not self.ratios:
            raise UsageError(problem(say("no ratio to try"), say("one or more"), "ratios=0.5,2"))
        for text in self.techniques:
            built(text)

    def __call__(self, work: Work, rng: Rng) -> Work:
        proxy, arms = Proxy(work, self.rows, rng.getrandbits(32)), self._arms()
        best = race(proxy, arms, self.splits)
        last = confirmed(proxy, best, self.confirm) if best else None
        notes = told(proxy, arms, last)
        if best is None or not best.chosen:
            return replace(work, notes={**work.notes, **notes, "new": 0, "picked": []})
        made = best.steps[0](replace(work, notes={}), rng)
        return replace(made, notes={**made.notes, **notes, "picked": [plain(best.steps[0])]})

    def _arms(self) -> list[Arm]:
        found = []
        for text in self.techniques or USUAL:
            step = built(text)
            ratios = self.ratios if hasattr(step, "ratio") and "ratio" not in catalog.parse(text)[1] else (None,)
            for ratio in ratios:
                arm: Any = step if ratio is None else replace(step, ratio=ratio)  # type: ignore[type-var]
                found.append(Arm(name_of(step) + ("" if ratio is None else f" x{ratio:g}"), (arm,)))
        return found


def check_counts(**counts: int) -> None:
    """Raises UsageError for a count below 2: one split has no spread."""
    for name, count in counts.items():
        if count < 2:
            raise UsageError(problem(say("{name} {value}", name=name, value=count), say("2 or more"), f"{name}=3"))


def built(text: str) -> Step:
    """A technique of augment/ that is none of those that choose. Raises UsageError for another."""
    name, settings = catalog.parse(text)
    full = catalog.page(name).name
    if not full.startswith("augment/") or full in ("augment/auto", "augment/learned"):
        given = say("'{name}' cannot be chosen from", name=full)
        raise UsageError(problem(given, say("a technique of augment/"), "burnish ls augment"))
    return catalog.build(full, settings)


def plain(step: Step) -> dict[str, Any]:
    """The step as JSON, to be built again."""
    return {"use": name_of(step), **describe(step)}
