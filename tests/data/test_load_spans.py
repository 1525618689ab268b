"""From a file to rows, task and facts, as `burnish fit` and `burnish check` do it."""

import json
from pathlib import Path

import pytest

from burnish.cli import main
from burnish.core import Span
from burnish.data.kind import ANSWERS, SEQUENCE
from burnish.errors import DataError
from burnish.plan.ground import load_rows
from burnish.plan.request import Request
from burnish.runs import read_rows, write_rows
from tests.data.test_read import write

BROKEN = "of\tO\nOslo\tI-place\nno\tO\n"


def sentences(n: int) -> str:
    return "".join(f"Ada{i}\tB-person\nmet\tO\nEve{i}\t{'B-person' if i % 2 else 'B-group'}\n\n" for i in range(n))


def test_tags_of_both_files_are_labels_and_breaks_are_told(tmp_path: Path) -> None:
    data = write(tmp_path, "train.conll", sentences(60) + BROKEN)
    found = load_rows(
        Request(data=data, model="", test=write(tmp_path, "test.conll", "Ada\tB-person\n\nby\tO\n" + BROKEN))
    )
    assert found.task.name == SEQUENCE
    assert found.task.labels == ("O", "B-group", "I-group", "B-person", "I-person", "B-place", "I-place")
    assert found.facts["mended"]["tag breaks"]["count"] == 2
    assert "2 tags break their scheme" in found.facts["notes"][-1]
    json.dumps(found.facts)


def test_types_that_only_the_test_has_are_refused(tmp_path: Path) -> None:
    data, test = (write(tmp_path, f"{n}.conll", text) for n, text in (("a", sentences(60)), ("b", BROKEN)))
    with pytest.raises(DataError, match="'place'"):
        load_rows(Request(data=data, model="", test=test))


def _here(i: int) -> dict[str, list[object]]:
    return {"text": ["here"], "answer_start": [f"text {i // 2} is here".index("here")]}


def test_answers_have_no_labels_and_rows_survive_the_disk(tmp_path: Path) -> None:
    rows = [
        {"context": f"text {i // 2} is here", "question": f"what {i}?", "answers": _here(i) if i % 3 else []}
        for i in range(80)
    ]
    found = load_rows(Request(data=write(tmp_path, "qa.jsonl", "\n".join(map(json.dumps, rows))), model=""))
    assert (found.task.name, found.task.labels, found.task.pair) == (ANSWERS, (), True)
    write_rows(tmp_path / "rows.jsonl", found.splits.train)
    assert tuple(read_rows(tmp_path / "rows.jsonl")) == found.splits.train
    assert {row.target for row in found.splits.train} == {(), *((Span(a, a + 4),) for a in (10, 11))}


def test_check_tells_of_entities(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "a.conll", sentences(60) + "\n" + BROKEN)
    assert main(["check", path, "--json"]) in (0, 5)
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == {"text": "tokens", "pair": None, "target": "tags"}
    assert sum(found["entities"]["entities"].values()) == 121
    assert any("1 tags break their scheme (line 242" in finding["what"] for finding in found["findings"])
    assert main(["check", path]) in (0, 5)
    assert "121 entities; 0 of 61 rows have none" in capsys.readouterr().out
