"""The walls of the command line: streams, exit codes, errors, signals, and how fast help answers."""

import errno
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from burnish import cli
from burnish.cli import GROUPS, main
from burnish.errors import BudgetNotMet, BurnishError, DataError, Missing, UsageError

VERBS = [verb for _, verbs in GROUPS for verb in verbs]
PROGRAM = [sys.executable, "-c", "import sys; from burnish.cli import main; sys.exit(main())"]


def test_every_verb_has_a_file_and_every_other_file_is_a_helper():
    helpers = {"__init__", "flags", "out", "progress", "units"}
    assert {path.stem for path in Path(cli.__file__).parent.glob("*.py")} == {*VERBS, *helpers}


def test_help_answers_at_once_and_imports_nothing_heavy():
    code = (
        "import sys; from burnish.cli import main; main(['--help'])\n"
        "heavy = {'torch', 'transformers', 'scipy', 'pandas', 'rich', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(time.perf_counter() - start)
        assert found.returncode == 0, found.stderr
    assert min(times) < 1.0  # 0.1 s on a quiet machine; the promise is 0.5 s
    assert all(verb in found.stdout for verb in VERBS)


def test_the_help_of_every_verb_is_light_too():
    code = (
        "import sys; from burnish.cli import main\n"
        f"for verb in {VERBS!r}: assert main([verb, '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'scipy', 'pandas', 'onnxruntime', 'fastapi'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_help_opens_with_examples_whose_flags_exist(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    text, _, options = shown.partition("\nOptions:")
    examples = re.findall(rf"^    .*?(burnish {verb}\b.*)$", text, re.M)
    assert examples
    for example in examples:
        for word in shlex.split(example.split("|")[0].split(">")[0].split("<")[0]):
            if word.startswith("--"):
                assert word in options, f"{example}: {word}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shw"], "did you mean 'burnish show'"),
        (["ls", "--jsn"], "--json"),
        (["show"], "Missing argument"),
        (["fit", "data.csv"], "--model"),
        (["fit", "data.csv", "--model", "m", "--max-size", "30"], "has no unit"),
        (["fit", "data.csv", "--model", "m", "--time", "soon"], "such as 90s"),
        (["fit", "data.csv", "--model", "m", "--seed", "-1"], "greater than"),
        (["fit", "data.csv", "--model", "m", "--set", "epohcs=3"], "did you mean 'epochs'"),
        (["fit", "data.csv", "--model", "m", "--set", "epochs=many"], "a whole number"),
        (["fit", "data.csv", "--model", "m", "--with", "compress/int9"], "did you mean 'compress/int8'"),
        (["tune", "data.csv", "--model", "m", "--set", "epochs"], "NAME=VALUE"),
        (["--frobnicate"], "frobnicate"),
        (["predict", "no-such-run", "text"], "no-such-run"),
        (["compare", "no-such-run", "other"], "no-such-run"),
    ],
)
def test_a_usage_error_ends_with_2_on_stderr_with_a_way_out(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert "expected:" in said.err
    assert "try:" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BurnishError("x"), 1),
        (UsageError("x"), 2),
        (BudgetNotMet("x"), 3),
        (Missing("x"), 4),
        (DataError("x"), 5),
        (RuntimeError("x"), 1),
        (MemoryError(), 4),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), 4),
        (ModuleNotFoundError("No module named 'openvino'", name="openvino"), 4),
        (ModuleNotFoundError("No module named 'burnish.gone'", name="burnish.gone"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(error, code, capsys, monkeypatch):
    def fail(stage=None):
        raise error

    monkeypatch.delenv("BURNISH_DEBUG", raising=False)
    monkeypatch.setattr("burnish.catalog.names", fail)
    assert main(["ls"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err
    assert "Traceback" not in said.err


def test_the_traceback_is_there_for_those_who_ask(capsys, monkeypatch):
    def fail(stage=None):
        raise RuntimeError("what was it")

    monkeypatch.setattr("burnish.catalog.names", fail)
    monkeypatch.setenv("BURNISH_DEBUG", "1")
    assert main(["ls"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_with_json_an_error_is_one_document_too(capsys):
    assert main(["show", "compress/int9", "--json"]) == 2
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["schema_version"] == 1
    assert document["error"]["exit_code"] == 2
    assert document["error"]["kind"] == "UsageError"
    assert "int8" in document["error"]["message"]
    assert "int9" in said.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_with_the_code_of_the_shell(number, code):
    slow = (
        "import signal, sys, time; from burnish import catalog, cli\n"
        # A job in the background of a shell inherits that ctrl-C is ignored; whoever runs the tests may be one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def names(stage): print('at work', file=sys.stderr, flush=True); time.sleep(60)\n"
        "catalog.names = names; sys.exit(cli.main(['ls']))"
    )
    with subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stderr.readline() == b"at work\n"
        running.send_signal(number)
        out, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert out == b""
    assert b"Traceback" not in err


def test_a_reader_that_leaves_is_no_error():
    with subprocess.Popen([*PROGRAM, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        err = running.stderr.read()
    assert running.returncode == 141
    assert err == b""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"burnish \d+\.\d+.*\n", capsys.readouterr().out)


def test_no_verb_at_all_shows_the_overview(capsys):
    assert main([]) == 0
    assert "burnish fit" in capsys.readouterr().out
