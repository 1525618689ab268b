"""A real model, INT8, served: light, isolated, and the same as transformers' tokens all the way."""

import csv
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from burnish import models, tasks
from burnish.core import Row, Work
from burnish.serve.artifact import served_bytes, write_artifact
from burnish.serve.engines import collate
from burnish.serve.parity import running
from burnish.serve.predict import Local
from tests.serve.servers import ask

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def sentences(shared):
    with (shared / "data" / "sst2" / "test.csv").open(newline="", encoding="utf-8") as file:
        return [row["text"] for row in csv.DictReader(file)][:120]


@pytest.fixture(scope="module")
def artifact(minilm, sentences, tmp_path_factory):
    from burnish.compress.int8 import Int8

    task = tasks.make("text-classification", ("neg", "pos"))
    model, tokenizer = models.load(str(minilm), task, seed=0)
    work = Int8()(Work(model, tokenizer, task, [], []), random.Random(0))
    folder = tmp_path_factory.mktemp("real") / "artifact"
    write_artifact(
        folder,
        model=work.model,
        tokenizer=tokenizer,
        task=task,
        engine="onnx",
        precision="int8",
        max_length=128,
        rows_for_golden=[Row(f"t:{n}", text) for n, text in enumerate(sentences[:4])],
        base_model="MiniLM-L6",
        measured={},
    )
    return folder


def test_it_is_small_on_disk_and_in_memory_and_isolated_under_load(artifact, sentences):
    assert served_bytes(artifact) < 30e6
    expected = Local(artifact, workers=1).outputs(sentences)
    with running(artifact) as port, ThreadPoolExecutor(32) as pool:
        asked = pool.map(lambda t: ask(port, "/predict", {"inputs": t, "raw": True})[1][0]["outputs"], sentences * 2)
        assert (np.array(list(asked), dtype=np.float32) == np.tile(expected, (2, 1))).all()
        page = ask(port, "/metrics")[1].splitlines()
        resident = next(line for line in page if line.startswith("process_resident_memory_bytes "))
        assert float(resident.split()[1]) < 400e6


def test_batched_it_would_not_be_isolated_which_is_why_rows_go_alone(artifact, sentences):
    local = Local(artifact)
    rows = local.encoder.encode(sentences[:16], truncate=True).rows
    together = local.predictor(collate(rows, local.facts["pad_id"]))
    alone = np.concatenate([local.predictor(collate([row], 0)) for row in rows])
    assert np.abs(together - alone).max() > 1e-4


def test_real_texts_get_the_ids_of_transformers(artifact, minilm, shared):
    from transformers import AutoTokenizer

    theirs, local = AutoTokenizer.from_pretrained(Path(minilm)), Local(artifact)
    texts = []
    for name in ("trec", "zh_reviews"):
        with (shared / "data" / name / "test.csv").open(newline="", encoding="utf-8") as file:
            texts += [row["text"] for row in csv.DictReader(file)][:300]
    expected = theirs(texts, truncation=True, max_length=128)["input_ids"]
    found = local.encoder.encode(texts, truncate=True).rows
    assert [row["input_ids"].tolist() for row in found] == expected
