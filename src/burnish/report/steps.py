"""What each step did, from the records: its settings and reasons, its time, quality and size before and after."""

from collections.abc import Mapping

from burnish.core import Record
from burnish.report import show
from burnish.report.files import Files
from burnish.report.layout import Table
from burnish.words import say

__all__ = ["chosen_path", "steps"]


def steps(files: Files) -> Table | None:
    """What each step did: its settings, its time, quality and size before and after, and the reasons it gave."""
    if not files.records:
        return None
    by_key = {record.key: record for record in files.records}
    path = chosen_path(files)
    rows, notes = [], []
    for record in files.records:
        parent = by_key.get(record.parent)
        before, after = _reading(parent), _reading(record)
        depth = len(_path(by_key, record.key)) - 1
        rows.append((
            "\u2003" * (depth - 1) + "↳ " * bool(depth) + record.step, show.duration(record.seconds),
            show.quality(before[0], files.metric), show.quality(after[0], files.metric),
            show.size(before[1]), show.size(after[1]),
        ))  # fmt: skip
        notes.append(_settings(record))
    return Table(
        caption=say("What each step did, read on the validation rows by probes outside the step."),
        columns=(
            say("step"), f"#{say('time')}", f"#{say('quality before')}", f"#{say('after')}",
            f"#{say('size before')}", f"#{say('after')}",
        ),
        rows=rows,
        notes=notes,
        marks=["chosen" if record.key in path else "" for record in files.records],
        foot=say("The steps of the chosen model are marked; the others belong to candidates that were not chosen."),
    )  # fmt: skip


def chosen_path(files: Files) -> list[str]:
    """Keys of the steps that made the chosen model, the last step first."""
    last = next((c.get("key") for c in files.candidates if c.get("status") == "chosen"), None)
    return _path({record.key: record for record in files.records}, last)


def _path(by_key: Mapping[str, Record], key: str | None) -> list[str]:
    """Keys from `key` back to the start. A loop, which only tampering makes, ends it."""
    path: list[str] = []
    while key is not None and key in by_key and key not in path:
        path.append(key)
        key = by_key[key].parent
    return path


def _reading(record: Record | None) -> tuple[float | None, float | None]:
    if record is None:
        return None, None
    quality, size = record.probes.get("quality") or {}, record.probes.get("size") or {}
    return quality.get("score"), size.get("bytes")


def _settings(record: Record) -> str:
    """The settings on one line, the reasons the step gave for them on the next."""
    told = ", ".join(f"{k} = {show.plain(v)}" for k, v in record.settings.items() if v is not None)
    reasons = "; ".join(str(reason) for reason in record.notes.get("reasons") or [])
    return "\n".join(part for part in (told, reasons) if part)
