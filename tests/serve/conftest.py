"""Artifacts and servers that many tests look at: built once, never changed. Copy one before you break it."""

import random
from pathlib import Path

import pytest

from burnish.serve.artifact import write_artifact
from burnish.serve.parity import running
from tests.tiny import tiny_rows, tiny_work

MAX_LENGTH = 64


def make(folder: Path, engine: str, precision: str) -> Path:
    """A tiny artifact, wide enough apart in its answers that a wrong row shows."""
    work = tiny_work()
    model = work.model
    if precision == "int8":
        from burnish.compress.int8 import Int8

        model = Int8(smallest=16)(work, random.Random(0)).model
    write_artifact(
        folder,
        model=model,
        tokenizer=work.tokenizer,
        task=work.task,
        engine=engine,
        precision=precision,
        max_length=MAX_LENGTH,
        rows_for_golden=work.valid,
        base_model="tiny",
        measured={"test": {"value": 0.5}},
    )
    return folder


@pytest.fixture(scope="session")
def int8(tmp_path_factory):
    """ONNX INT8: rows are served alone."""
    return make(tmp_path_factory.mktemp("int8") / "artifact", "onnx", "int8")


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """torch fp32: rows are served in batches."""
    return make(tmp_path_factory.mktemp("plain") / "artifact", "torch", "fp32")


@pytest.fixture(scope="session")
def port(int8):
    """A server on the INT8 artifact, with small limits, that every test may use and none may stop."""
    with running(int8, "--max-body", "20000") as port:
        yield port


@pytest.fixture(scope="session")
def texts():
    """Of different lengths, since equal ones would hide what padding does."""
    return [" ".join(row.text for row in tiny_rows(1 + n % 4, seed=n)) for n in range(40)]
