"""A run folder on disk: everything is written whole or not at all, and every file's hash is kept.

runs/NAME/
  request.json      what was asked: data, model, limits, seed, and every default written out
  rows/             train.jsonl, valid.jsonl, test.jsonl: the rows as they were split
  check.json        what `burnish check` found in them
  recipe.yaml       the steps that were chosen, every setting written out
  augment.json      what augmentation made and gave, where it was asked for
  records.jsonl     one Record a line
  candidates.json   every candidate: steps, engine, quality, size, speed, why it was kept or dropped
  predictions/      SPLIT-WHO.jsonl: one row a line, so that every number can be recomputed and paired
  works/KEY/        the model after each finished step (the cache that lets a run continue)
  artifact/         the deliverable
  result.json       the answer, as `fit --json` prints it
  manifest.json     SHA-256 of every file above
  report.html
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core import FILL, Record, Row, Span
from burnish.errors import DataError, Missing, UsageError, problem
from burnish.words import say

__all__ = [
    "Predictions",
    "append_line",
    "file_hash",
    "find",
    "held",
    "read_json",
    "read_predictions",
    "read_records",
    "read_rows",
    "sweep",
    "text_hash",
    "tree_hashes",
    "write_bytes",
    "write_json",
    "write_predictions",
    "write_rows",
    "write_text",
]


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            given = say("the disk is full: {path} could not be written", path=path)
            hint = say("free some space and give the same command again: it goes on where it stopped")
            raise Missing(problem(given, say("room for the file"), hint)) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            given = say("{path} may not be written", path=path)
            raise Missing(problem(given, say("a folder you may write to"), say("--out another/folder"))) from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write the whole file or leave the old one: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises Missing when the disk is full; the old content is then still there.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else works on this run meanwhile; the system lets go of it when the process dies.

    Raises UsageError when another process has it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            given = say("another process works on {folder}", folder=folder)
            hint = say("wait for it, or --out another/folder")
            raise UsageError(problem(given, say("a run that nobody else works on"), hint)) from None
        yield
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half written under `folder`: every file and folder whose name has a dot first.

    Call it only while the run is held.
    """
    for path in [*folder.glob(".*"), *(folder / "works").glob(".*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """JSON with sorted keys; nan and infinity are refused, since JSON has neither."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises DataError when the file is missing or damaged."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        given = say("{path} is not there", path=path)
        hint = say("give the same `burnish fit` command again to finish the run")
        raise DataError(problem(given, say("a finished run"), hint)) from error
    except (ValueError, UnicodeDecodeError) as error:
        given = say("{path} is damaged: {error}", path=path, error=error)
        raise DataError(problem(given, say("JSON"), say("burnish verify {run}", run=path.parent))) from error


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line of JSON and force it to disk. A kill can at worst leave half a line, which readers skip."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            if file.tell() and _last_byte(path) != b"\n":
                file.write(b"\n")
            file.write(json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a JSONL file; a line cut short by a kill is skipped."""
    if path.is_file():
        for line in path.read_text("utf-8", errors="replace").split(
            "\n"
        ):  # splitlines would cut at U+2028 too, inside a text
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def read_records(run: Path) -> list[Record]:
    """The records of a run in the order they were made; a step that was run twice counts once."""
    found = {line["key"]: Record(**line) for line in read_lines(run / "records.jsonl")}
    return list(found.values())


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    write_text(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> list[Row]:
    """Rows as `write_rows` left them. Raises DataError when the file is missing."""
    if not path.is_file():
        read_json(path)  # raises the error that says how to finish the run
    return [_row(line) for line in read_lines(path)]


def _row(line: dict[str, Any]) -> Row:
    target = line["target"]
    if isinstance(target, list):
        target = tuple(Span(**part) if isinstance(part, dict) else part for part in target)
    return Row(**{**line, "target": target})


class Predictions:
    """Outputs of one model on one split: `ids` [N], `outputs` float32 [N, C], `targets` [N] or [N, C].

    Of words: `outputs` [N, W, C], `targets` [N, W]. Of answers: `targets` are objects, texts that the task reads.
    """

    def __init__(self, ids: Sequence[str], outputs: np.ndarray, targets: np.ndarray):
        self.ids, self.outputs, self.targets = list(ids), np.asarray(outputs, np.float32), np.asarray(targets)


def write_predictions(path: Path, found: Predictions) -> None:
    """One line a row: {"id", "target", "outputs"}. float32 written as decimal reads back to the same bits."""
    lines = (
        json.dumps({"id": i, "target": t if isinstance(t, str) else t.tolist(), "outputs": _decimal(o)})
        for i, t, o in zip(found.ids, found.targets, found.outputs, strict=True)
    )
    write_text(path, "\n".join(lines) + "\n")


def read_predictions(path: Path) -> Predictions:
    lines = list(read_lines(path))
    if not lines:
        read_json(path)
    return Predictions(
        [line["id"] for line in lines],
        _together([np.array(line["outputs"], dtype=np.float32) for line in lines]),
        _targets([line["target"] for line in lines]),
    )


def _decimal(outputs: np.ndarray) -> list[Any]:
    """Shortest decimals that read back to the same float32; of words without those that are not there."""
    if outputs.ndim == 1:
        return [float(str(v)) for v in outputs]
    return [_decimal(line) for line in outputs[outputs[:, 0] != FILL]]


def _together(parts: list[np.ndarray]) -> np.ndarray:
    if parts[0].ndim == 1 and parts[0].size:
        return np.stack(parts)
    width, last = max(map(len, parts)), max(part.shape[-1] for part in parts if part.size)
    whole = np.full((len(parts), width, last), FILL, dtype=np.float32)
    for row, part in zip(whole, parts, strict=True):
        if part.size:
            row[: len(part)] = part
    return whole


def _targets(values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=object if values and isinstance(values[0], str) else None)


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_hashes(folder: Path, skip: Sequence[str] = ()) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by relative path; `skip` names top-level files or folders."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in skip)
    return {p.relative_to(folder).as_posix(): file_hash(p) for p in files}


def find(name: str | Path) -> Path:
    """The run folder called `name`: a path, or a name under ./runs. Raises UsageError with what is there."""
    for folder in (Path(name), Path("runs") / name):
        if (folder / "request.json").is_file() or (folder / "artifact" / "burnish.json").is_file():
            return folder
    known = sorted(p.parent.name for p in Path("runs").glob("*/request.json")) if Path("runs").is_dir() else []
    expected = say("one of: {known}", known=", ".join(known)) if known else say("a folder that `burnish fit` made")
    raise UsageError(
        problem(
            say("'{name}' is not a burnish run", name=name),
            expected,
            say("burnish fit DATA --out {name}", name=name),
        )
    )
