"""burnish: a labelled data set and a pretrained Transformer in; the smallest, fastest model that still meets the
quality bar out, ready to serve, with evidence for what every step did.

    data ──► augment ──► tune ──► compress ──► serve ──► report
             rows        model     model        engine    evidence

    import burnish
    run = burnish.fit("reviews.csv", model="./my-bert", max_size=30_000_000, max_p95=10, max_drop=1.0)
    run.result["chosen"], run.table(), run.report()
    burnish.load(run.folder).predict(["the battery died after two days"])
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.api import Run, augmented, fit, load
    from burnish.core import Record, Row, Step, Task, Work
    from burnish.errors import BudgetNotMet, BurnishError, DataError, Missing, UsageError

__version__ = "0.1.0"

__all__ = [
    "BudgetNotMet",
    "BurnishError",
    "DataError",
    "Missing",
    "Record",
    "Row",
    "Run",
    "Step",
    "Task",
    "UsageError",
    "Work",
    "augmented",
    "fit",
    "load",
]


# Imported when they are used, so that `import burnish` and `burnish --help` stay light.
_HOMES = {
    **dict.fromkeys(("Run", "augmented", "fit", "load"), "burnish.api"),
    **dict.fromkeys(("Record", "Row", "Step", "Task", "Work"), "burnish.core"),
    **dict.fromkeys(("BudgetNotMet", "BurnishError", "DataError", "Missing", "UsageError"), "burnish.errors"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")
