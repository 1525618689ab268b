"""Write the report of a run anew: one HTML page that works offline.

    burnish report runs/reviews
    burnish report reviews --json

Prints where it is. Whatever the run has so far is shown; nothing is computed that is not in its files.
"""

from burnish.cli import out
from burnish.cli.flags import Json, Run
from burnish.runs import find

__all__ = ["report"]


def report(run: Run, json: Json = False) -> None:
    from burnish.report.page import write

    path = write(find(run))
    if json:
        out.document({"report": str(path)})
    else:
        out.data([str(path)])
