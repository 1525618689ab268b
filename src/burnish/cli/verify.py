"""Count every number of a run's report again, from its stored predictions and hashes.

    burnish verify runs/reviews
    burnish verify reviews --json

Needs neither the model nor the data set. Ends with exit code 3 when anything is not what it was.
"""

from burnish.cli import out
from burnish.cli.flags import Json, Run
from burnish.errors import BudgetNotMet
from burnish.runs import find
from burnish.words import say

__all__ = ["verify"]


def verify(run: Run, json: Json = False) -> int:
    from burnish.report.verify import verify as recount

    folder = find(run)
    problems = recount(folder)
    if json:
        out.document({"run": str(folder), "good": not problems, "problems": problems})
    elif problems:
        out.data(str(problem) for problem in problems)
    else:
        out.data([say("every number and every file of {run} is as it was written", run=folder)])
    return BudgetNotMet.exit_code if problems else 0
