"""Progress: plain lines now and then, nothing with --quiet, one live line on a terminal."""

import math
import os
import pty
import subprocess
import sys

from burnish.cli.progress import _Lines, left, progress


def test_plain_lines_tell_of_each_stage_and_then_only_now_and_then(capsys):
    now = [0.0]
    lines = _Lines(lambda: now[0])
    for second in range(61):
        now[0] = float(second)
        lines.report("training", second / 60, {"loss": 0.5, "score": -math.inf, "step": second})
    lines.report("scoring", 0.0, {"model": "int8"})
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 6  # at 0, 15, 30, 45, 60 and for the second stage
    assert "training" in said[0]
    assert "loss 0.5" in said[1]
    assert "25%" in said[1]
    assert "left" in said[1]
    assert "inf" not in "".join(said)
    assert "scoring" in said[-1]
    assert "int8" in said[-1]


def test_quiet_is_quiet(capsys):
    with progress(quiet=True) as report:
        report("training", 0.5, {"loss": 1.0})
    said = capsys.readouterr()
    assert said.out + said.err == ""


def test_time_left_by_rule_of_three():
    assert "30" in left(30, 0.5)
    assert "90" in left(10, 0.1)
    assert left(30, 0.0) == left(30, 1.0) == left(0.1, 0.5) == ""


def test_on_a_terminal_the_finished_stages_stay_and_stdout_is_untouched():
    code = (
        "from burnish.cli.progress import progress\n"
        "with progress(False) as report:\n"
        "    report('training', 0.5, {'loss': 0.25}); report('scoring', 0.1, {}); report('scoring', 1.0, {})\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"}
    found = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert found.returncode == 0
    assert found.stdout == b""
    assert "training" in shown
    assert "scoring" in shown
    assert "\x1b[3" not in shown  # NO_COLOR
