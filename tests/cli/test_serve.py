"""`burnish serve` and `burnish predict` on a real, tiny artifact, each as a process of its own."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from burnish.serve.artifact import write_artifact
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer, tiny_work

PROGRAM = [sys.executable, "-c", "import sys; from burnish.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "artifact"
    write_artifact(
        folder,
        model=tiny_model(),
        tokenizer=tiny_tokenizer(),
        task=tiny_work().task,
        engine="onnx",
        precision="fp32",
        max_length=64,
        rows_for_golden=tiny_rows(4),
        base_model="tiny",
        measured={},
    )
    return folder


def test_serve_answers_as_predict_does_and_ends_with_0_when_told_to(artifact):
    text = "the film was good"
    told = subprocess.run([*PROGRAM, "predict", str(artifact), text, "--json"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    expected = json.loads(told.stdout)["predictions"][0]
    with subprocess.Popen(
        [*PROGRAM, "serve", str(artifact), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            address = re.search(r"http://\S+", server.stderr.readline()).group()
            assert "ready" in server.stderr.readline()
            body = json.dumps({"inputs": text}).encode()
            request = urllib.request.Request(f"{address}/predict", body, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                found = json.loads(answer.read())
        finally:
            server.send_signal(signal.SIGTERM)
            out, err = server.communicate(timeout=30)
    assert found == [{k: v for k, v in expected.items() if k != "text"}]
    assert server.returncode == 0, err
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--host", "0.0.0.0"], 2),  # a public address without a key
        (["--port", "99999"], 2),
        (["--timeout", "5"], 2),  # five what?
        (["--max-queue", "0"], 2),
    ],
)
def test_serve_refuses_what_cannot_be_meant(arguments, code, artifact, capsys, monkeypatch):
    from burnish.cli import main

    monkeypatch.delenv("BURNISH_API_KEY", raising=False)
    assert main(["serve", str(artifact), *arguments]) == code
    assert "try:" in capsys.readouterr().err


def test_serve_of_a_port_that_is_taken_ends_with_4(artifact, capsys):
    import socket

    from burnish.cli import main

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(artifact), "--port", str(taken.getsockname()[1])]) == 4
    assert "--port 0" in capsys.readouterr().err
