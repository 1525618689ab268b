"""The processes of a search: each takes trials of the one study, with its share of the cores, until there are enough.

See `burnish.plan.study` for how they share it. A worker may die: its trial is taken up by another. A worker whose
command is gone ends at once.

    workers/N.log     what worker N printed
    workers/N.json    what it ended with, where that was a mistake
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from burnish import runs
from burnish.errors import BurnishError, DataError, Missing, UsageError, problem
from burnish.plan.ground import Ground, lay
from burnish.plan.trials import POLL, Hand, Job, Plan, repeat
from burnish.words import say

__all__ = ["in_processes", "run_trials"]

# -P: a file in the user's folder must not stand for a module.
COMMAND = (sys.executable, "-P", "-m", "burnish.plan.workers")

Report = Callable[[str, float, Mapping[str, Any]], None]


def run_trials(plan: Plan, ground: Ground, report: Report, *, search_end: float | None, end: float | None) -> None:
    """Run the study to its end, here or in `plan.workers` processes.

    Both ends are times of `time.monotonic`, which all processes of a machine share.
    """
    if plan.workers > 1:
        in_processes(plan, report, [], search_end=search_end, end=end)
        return
    with contextlib.closing(plan.open()) as study:
        Hand(plan, ground, study, report, search_end, end).work()


def in_processes(
    plan: Plan, report: Report, jobs: Sequence[Job], *, search_end: float | None, end: float | None
) -> None:
    """Trials (or `jobs`, when there are any) in `plan.workers` processes, each with its share of the cores.

    When all of them have ended badly, raises what one of them raised. Not with `jobs`, which the caller can do too.
    """
    place = plan.run / "workers"
    place.mkdir(exist_ok=True)
    for old in place.glob("*.json"):
        old.unlink()
    task = {
        "plan": plan.to_json(), "threads": max(1, torch.get_num_threads() // plan.workers),
        "finals": bool(jobs), "search_end": search_end, "end": end,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        hands = []
        for index in range(plan.workers):
            mine = [vars(job) for job in jobs[index :: plan.workers]]
            hands.append(stack.enter_context(_started(place / str(index), {**task, "jobs": mine})))
        _watch(plan, hands, report, len(jobs))
        failed = all(hand.returncode for hand in hands)
    if failed and not jobs:
        for told in sorted(place.glob("*.json")):
            _raise(runs.read_json(told))
        given = say("all {n} workers have died", n=len(hands))
        hint = say("the same command again goes on; fewer --workers need less memory; {path} may say more", path=place)
        raise BurnishError(problem(given, say("at least one that lives"), hint))


@contextlib.contextmanager
def _started(place: Path, task: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A worker process, which is gone afterwards."""
    with open(f"{place}.log", "a") as log:
        # A session of its own: Ctrl-C is for the command, which then ends its workers.
        hand = subprocess.Popen(
            [*COMMAND, f"{place}.json"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert hand.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # dead already: that is seen later
            hand.stdin.write(json.dumps(task) + "\n")
            hand.stdin.flush()
        yield hand
    finally:
        hand.kill()
        hand.wait()
        with contextlib.suppress(BrokenPipeError):
            hand.stdin.close()


def _watch(plan: Plan, hands: Sequence[subprocess.Popen[str]], report: Report, jobs: int) -> None:
    lines, what = plan.run / "trials.jsonl", say("repeating the best") if jobs else say("searching")
    while any(hand.poll() is None for hand in hands):
        ready = (plan.run / "finalists").glob("*/result.json") if jobs else runs.read_lines(lines)
        report(what, min(0.99, sum(1 for _ in ready) / (jobs or plan.trials)), {})
        time.sleep(POLL)


def _raise(told: Mapping[str, str]) -> None:
    kinds = {kind.__name__: kind for kind in (UsageError, DataError, Missing)}
    raise kinds.get(told["kind"], BurnishError)(told["message"])


# -- in the worker -------------------------------------------------------------------------------


def _main(confession: Path) -> None:
    """What a worker process does: its task is a line of JSON; what it raises is left for who started it."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    try:
        _work(task)
    except Exception as error:
        runs.write_json(confession, {"kind": type(error).__name__, "message": str(error) or type(error).__name__})
        raise


def _end_with_the_command() -> None:
    """The other end of the pipe is closed when the process that holds it ends, however it does."""
    os.read(0, 1)
    os._exit(1)


def _work(task: Mapping[str, Any]) -> None:
    torch.set_num_threads(task["threads"])
    plan, end = Plan.from_json(task["plan"]), task["end"]
    ground = lay(plan.run, plan.request, _silent)
    if task["finals"]:
        for job in task["jobs"]:
            repeat(ground, Job(**job), deadline=end, report=_silent)
        return
    with contextlib.closing(plan.open()) as study:
        Hand(plan, ground, study, _silent, task["search_end"], end).work()


def _silent(what: str, share: float, facts: Mapping[str, Any]) -> None:
    """Report to nobody."""


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
