"""burnish: a labelled data set and a pretrained Transformer in; the smallest, fastest model that still meets the
quality bar out, ready to serve, with evidence for what every step did.

    data ──► augment ──► tune ──► compress ──► serve ──► report
             rows        model     model        engine    evidence

    import burnish
    run = burnish.fit("reviews.csv", model="./my-bert", max_size=30_000_000, max_p95=10, max_drop=1.0)
    run.result["chosen"], run.table(), run.report()
    burnish.load(run.folder).predict(["the battery died after two days"])
"""

from typing import Any

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
    "fit",
    "load",
]


def __getattr__(name: str) -> Any:
    """`fit`, `load` and `Run` are imported when they are used: `import burnish` stays light."""
    if name in ("Run", "fit", "load"):
        from burnish import api

        return getattr(api, name)
    raise AttributeError(f"module 'burnish' has no attribute {name!r}")
