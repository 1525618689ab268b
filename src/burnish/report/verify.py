"""Is everything in a run still what it was, and does every number follow from the stored predictions?

Three nets, each for what the others let through. Hashes catch any changed byte. Recounting (recount.py) catches numbers
that were changed together with their hash. Rendering again catches a page that tells another story than its files.

What it cannot see: times and sizes that were measured wrongly, since no file remembers the moment; and a forger who
makes up predictions and everything after them, since burnish signs nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path

from burnish.core import step_key
from burnish.errors import BurnishError
from burnish.report import page, recount
from burnish.report.files import Files
from burnish.runs import file_hash, tree_hashes
from burnish.words import say

__all__ = ["SKIPPED", "verify"]

# What manifest.json does not list: itself, the page that is made from the files, and the caches of unfinished work.
SKIPPED = ("manifest.json", "report.html", "works", "checkpoints")


def verify(run: Path) -> list[str]:
    """Sentences about what is wrong, each naming the file; empty when all is well. Never raises on damaged files."""
    found = _guarded("manifest.json", lambda: hashes(run))
    found += _guarded("records.jsonl", lambda: chain(run))
    found += _guarded("artifact/burnish.json", lambda: artifact(run))
    found += _guarded("result.json", lambda: recount.recount(Files(run)))
    found += _guarded("report.html", lambda: rendered(run))
    return list(dict.fromkeys(found))


def _guarded(name: str, check: Callable[[], list[str]]) -> list[str]:
    """The findings of one check; a file so damaged that the check cannot go on is a finding itself."""
    try:
        return check()
    except BurnishError as error:
        return [f"{name}: {str(error).splitlines()[0]}"]
    except Exception as error:  # whatever a tampered file provokes must end in a finding, not in a traceback
        return [say("{name}: could not be checked ({error})", name=name, error=f"{type(error).__name__}: {error}")]


def hashes(run: Path) -> list[str]:
    """Every file has the hash that manifest.json lists, none is missing, none was added."""
    path = run / "manifest.json"
    if not path.is_file():
        return [say("manifest.json: is missing, so the run was not finished or not by burnish")]
    text = path.read_text("utf-8")
    listed, now = json.loads(text)["files"], tree_hashes(run, SKIPPED)
    found = [say("{name}: is listed in manifest.json and is not there", name=n) for n in sorted(set(listed) - set(now))]
    found += [say("{name}: is not listed in manifest.json", name=n) for n in sorted(set(now) - set(listed))]
    found += [
        say("{name}: has changed, its SHA-256 is not the one in manifest.json", name=n)
        for n in sorted(set(now) & set(listed))
        if now[n] != listed[n]
    ]
    if text != _as_written({"files": listed}):
        found.append(say("manifest.json: is not as burnish wrote it"))
    return found


def _as_written(manifest: dict[str, object]) -> str:
    """The one way `runs.write_json` writes it, so that no byte can be changed without a trace."""
    return json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def chain(run: Path) -> list[str]:
    """Every record follows from the one before it, from its settings and from the seed, as its key says."""
    files = Files(run)
    known, found = {record.key for record in files.records}, []
    roots = {record.parent for record in files.records if record.parent not in known}
    if len(roots) > 1:
        found.append(say("records.jsonl: the steps hang on {count} different beginnings", count=len(roots)))
    for record in files.records:
        if record.key != step_key(
            record.parent, record.step, record.settings, int(files.request.get("seed") or 0), record.reads
        ):
            found.append(say("records.jsonl: {step} ({key}) does not follow from its settings, its parent and the seed",
                             step=record.step, key=record.key))  # fmt: skip
    for candidate in files.candidates:
        if candidate.get("key") and candidate["key"] not in known:
            text = say(
                "candidates.json: {name} names a step that records.jsonl does not know", name=candidate.get("name")
            )
            found.append(text)
    return found


def artifact(run: Path) -> list[str]:
    """The files of the artifact have the hashes that its own burnish.json lists."""
    files = Files(run)
    if not files.artifact:
        return [say("artifact/burnish.json: is missing")]
    found, total = [], 0
    for name, expected in files.artifact["files"].items():
        path = run / "artifact" / name
        if not path.is_file():
            found.append(say("artifact/{name}: is listed in burnish.json and is not there", name=name))
        elif file_hash(path) != expected:
            found.append(say("artifact/{name}: its SHA-256 is not the one in burnish.json", name=name))
        total += path.stat().st_size if path.is_file() else 0
    return found + _size(files, total)


def _size(files: Files, total: int) -> list[str]:
    """The size in the answer is that of the served files; burnish.json itself grew when the numbers were put in."""
    told = (files.result.get("chosen") or {}).get("size_bytes")
    own = (files.run / "artifact" / "burnish.json").stat().st_size
    if told is None or total <= told <= total + own:
        return []
    return [say("result.json: chosen.size_bytes is {told:,}, the artifact has {total:,}", told=told, total=total + own)]


def rendered(run: Path) -> list[str]:
    """report.html is what the files give, byte for byte."""
    path = run / "report.html"
    if not path.is_file():
        return [say("report.html: is missing; `burnish report {run}` writes it", run=run)]
    if path.read_bytes() == page.render(run).encode("utf-8"):
        return []
    hint = say("report.html: is not what the files of the run give; `burnish report {run}` writes it again", run=run)
    return [hint]
