"""The errors burnish raises on purpose, and the exit code each one ends a command with.

    BurnishError                 1  something failed that no rule below names
    ├── UsageError               2  a flag, a setting or a recipe that cannot be meant
    ├── BudgetNotMet             3  everything worked, and nothing meets what was asked
    ├── Missing                  4  something this machine lacks: an engine, a package, space, a port
    └── DataError                5  the rows are wrong: empty, ragged, one class only, unreadable

Every message says what was given, what was expected, and what to try next. Build them with
`problem(given, expected, try_next)`, so that none of the three can be forgotten.
"""

import difflib
from collections.abc import Iterable

from burnish.words import say

__all__ = ["BudgetNotMet", "BurnishError", "DataError", "Missing", "UsageError", "nearest", "problem"]


class BurnishError(Exception):
    """Anything burnish refuses, with a message that helps. `exit_code` is what the command returns."""

    exit_code = 1


class UsageError(BurnishError):
    """The request cannot be meant as given: an unknown key, a bad value, a file that is not a model."""

    exit_code = 2


class BudgetNotMet(BurnishError):
    """Every step worked, and no candidate meets the limits; the nearest ones are in the message."""

    exit_code = 3


class Missing(BurnishError):
    """This machine lacks something: a package (with the install line), disk space, a free port."""

    exit_code = 4


class DataError(BurnishError):
    """The data cannot be learned from, or not be read: file, row and column are named."""

    exit_code = 5


def problem(given: str, expected: str, try_next: str) -> str:
    """Lay out an error the same way everywhere. All three parts are full phrases.

    >>> print(problem("column 'labl' is not in reviews.csv", "one of: text, label", "did you mean 'label'?"))
    column 'labl' is not in reviews.csv
      expected: one of: text, label
      try:      did you mean 'label'?
    """
    return f"{given}\n  {say('expected:')} {expected}\n  {say('try:')}      {try_next}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None when nothing is close."""
    lowered = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    return lowered[found[0]] if found else None
