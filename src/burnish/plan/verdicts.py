"""What a person said of new rows: the file they fill in, and what follows from it.

    id,technique,answer,key,change
    data:17+eda.0,augment/eda,reject,9f2c61d0a4b7e853,a [-good-]{+commodity+} film

`answer` is accept, reject or empty, which means not looked at. `key` names the new texts, so that answers to other
rows of the same name are not taken for these. Spreadsheets may add, leave out and sort columns and rows.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core import Rows
from burnish.data.family import key_of
from burnish.data.read import read
from burnish.errors import DataError, nearest, problem
from burnish.measure.intervals import wilson
from burnish.words import say

__all__ = ["COLUMNS", "HIGH", "Verdicts", "blank", "load"]

COLUMNS = ("id", "technique", "answer", "key", "change")
ANSWERS = ("accept", "reject", "")
# A technique is named when a fifth of its rows is refused; and only on as many answers as tell a fifth from none.
HIGH, FEWEST = 0.2, 5


def blank(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """An answers file without answers: of each row id, technique, key and the change as shown."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([name, technique, "", key, change] for name, technique, key, change in rows)
    return out.getvalue()


def load(path: Path) -> "Verdicts":
    """Read an answers file, CSV or JSON. Raises DataError for a missing file or column, and for another answer."""
    table = read(str(path), role="answers")
    missing = [name for name in ("id", "answer", "key") if name not in table.columns]
    if missing:
        given = say("{path} has no column '{name}'", path=path, name=missing[0])
        raise DataError(problem(given, ", ".join(COLUMNS), say("the file that --review wrote, filled in")))
    answers: dict[str, tuple[str, str]] = {}
    for i, line in enumerate(table.rows):
        answer = str(line.get("answer") or "").strip().lower()
        if answer not in ANSWERS:
            given = say("{path}, {where}: the answer is '{answer}'", path=path, where=table.where(i), answer=answer)
            hint = say("did you mean '{close}'?", close=nearest(answer, ANSWERS[:2]) or "reject")
            raise DataError(problem(given, say("accept, reject, or nothing"), hint))
        answers[str(line.get("id"))] = (answer, str(line.get("key")))
    return Verdicts(path, answers)


@dataclass(frozen=True)
class Verdicts:
    path: Path
    answers: Mapping[str, tuple[str, str]]  # id -> answer, key

    def refused(self, techniques: Mapping[str, str], rows: Rows) -> dict[str, str]:
        """Ids of the rows to leave out. Raises DataError when the answers are about other rows than these."""
        keys = {row.id: key_of(row.text, row.pair) for row in rows if row.id in techniques}
        strange = [name for name, (_, key) in self.answers.items() if keys.get(name) != key]
        if strange:
            given = say(
                "{path} answers for {n} rows that were not made now, such as {name}",
                path=self.path, n=len(strange), name=strange[0],
            )  # fmt: skip
            expected = say("answers to the rows of this very command: same data, --with, --ratio and --seed")
            raise DataError(problem(given, expected, say("give those again, or review anew with --review")))
        return {name: answer for name, (answer, _) in self.answers.items() if answer == "reject"}

    def facts(self, techniques: Mapping[str, str]) -> dict[str, Any]:
        """JSON: answers by technique with the share refused, and which techniques should go."""
        found: dict[str, dict[str, Any]] = {}
        for name in sorted({techniques[row] for row in self.answers}):
            given = [answer for row, (answer, _) in self.answers.items() if techniques[row] == name and answer]
            no = given.count("reject")
            share = wilson(no, len(given)) if given else None
            found[name] = {
                "answered": len(given),
                "rejected": no,
                "share": round(no / len(given), 4) if given else None,
                "interval": [round(share.low, 4), round(share.high, 4)] if share else None,
            }
        poor = [n for n, f in found.items() if f["answered"] >= FEWEST and f["rejected"] > HIGH * f["answered"]]
        return {"techniques": found, "poor": poor}
