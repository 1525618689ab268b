"""Texts without labels, for techniques that learn from them as well."""

import json
from pathlib import Path

from burnish.core import Row, Task
from burnish.errors import DataError, UsageError, problem
from burnish.words import say

__all__ = ["read_texts"]


def read_texts(place: str, task: Task, setting: str = "text") -> list[Row]:
    """The rows of a text file: lines, or where they begin with a brace JSON with "text" and, for pairs, "pair".

    `setting` is how whoever asks calls the file.
    """
    path = Path(place).expanduser()
    if not path.is_file():
        given = say("there is no file '{place}'", place=place)
        raise UsageError(problem(given, say("lines of text, or JSONL with a key text"), f"{setting}=more.txt"))
    lines = [(i, line.strip()) for i, line in enumerate(path.read_text("utf-8").split("\n"), start=1) if line.strip()]
    rows = [_row(f"{path.name}:{i}", line, task.pair) for i, line in lines]
    if not rows:
        raise DataError(
            problem(
                say("{path} is empty", path=path), say("one text a line"), say("leave {setting} out", setting=setting)
            )
        )
    return rows


def _row(name: str, line: str, pair: bool) -> Row:
    try:
        found = json.loads(line) if line.startswith("{") else {"text": line}
        second = found["pair"] if pair else None
        if isinstance(found["text"], str) and (second is None or isinstance(second, str)):
            return Row(name, found["text"], second)
    except (ValueError, KeyError):
        pass
    expected = say('{"text": ..., "pair": ...}') if pair else say('a line of text, or {"text": ...}')
    raise DataError(problem(say("{name} cannot be read", name=name), expected, say("correct this line")))
