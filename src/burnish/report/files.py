"""The files of a run folder as the report reads them: what is not there yet is None or empty, never made up."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from burnish.core import Record, Row, Task
from burnish.runs import Predictions, read_json, read_predictions, read_records, read_rows
from burnish.tasks import from_json

__all__ = ["Files"]

Facts = dict[str, Any]


@dataclass(frozen=True)
class Files:
    """A run folder, read once and on demand. Damaged JSON raises DataError; a missing file is simply not there."""

    run: Path

    def _read(self, name: str, empty: Any) -> Any:
        path = self.run / name
        return read_json(path) if path.is_file() else empty

    @cached_property
    def request(self) -> Facts:
        return dict(self._read("request.json", {}))

    @cached_property
    def facts(self) -> Facts:
        """How the rows were read: columns, reasons, notes, the data's hash, the task."""
        return dict(self._read("rows/facts.json", {}))

    @cached_property
    def forecast(self) -> Facts:
        return dict(self.result.get("forecast") or self._read("forecast.json", {}))

    @cached_property
    def check(self) -> Facts:
        return dict(self._read("check.json", {}))

    @cached_property
    def result(self) -> Facts:
        return dict(self._read("result.json", {}))

    @cached_property
    def augment(self) -> Facts:
        return dict(self._read("augment.json", {}))

    @cached_property
    def ledger(self) -> Facts:
        return dict(self._read("ledger.json", {}))

    @cached_property
    def artifact(self) -> Facts:
        return dict(self._read("artifact/burnish.json", {}))

    @cached_property
    def candidates(self) -> list[Facts]:
        return list(self._read("candidates.json", []) or self.result.get("candidates") or [])

    @cached_property
    def records(self) -> list[Record]:
        return read_records(self.run)

    @cached_property
    def task(self) -> Task | None:
        """The task; None before the rows were read."""
        facts = self.facts.get("task") or self.artifact.get("task")
        return from_json(facts) if facts else None

    @property
    def metric(self) -> str:
        named = self.result.get("metric") or (self.task.metric if self.task else None)
        return str(named or self.request.get("metric") or "score")

    def predictions(self, name: str) -> Predictions | None:
        """`name` such as 'test-chosen'. None when it was not written yet."""
        path = self.run / "predictions" / f"{name}.jsonl"
        return read_predictions(path) if path.is_file() else None

    def rows(self, split: str) -> list[Row]:
        path = self.run / "rows" / f"{split}.jsonl"
        return read_rows(path) if path.is_file() else []
