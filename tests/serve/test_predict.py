"""The offline scorer: outputs in the order given, however the rows were cut and shared."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.serve.predict import Local, cut, outputs_of, shape

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=60)


def row(length, mark):
    ids = np.full(length, mark, dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def total(batch):
    """Sum of the unmasked ids: tells rows apart, and shows padding that leaks."""
    return (batch["input_ids"] * batch["attention_mask"]).sum(1, keepdims=True).astype(np.float32)


@given(LENGTHS, st.integers(1, 200), st.integers(1, 8))
def test_batches_hold_every_row_once_within_both_caps(lengths, max_tokens, max_rows):
    batches = list(cut(lengths, max_tokens, max_rows))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= max_rows
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= max_tokens


@given(LENGTHS, st.booleans(), st.integers(1, 4))
def test_outputs_come_back_in_order(lengths, alone, workers):
    rows = [row(length, n + 1) for n, length in enumerate(lengths)]
    found = outputs_of(total, rows, alone=alone, workers=workers, max_tokens=100, pad_id=7)
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [length * (n + 1) for n, length in enumerate(lengths)]


def test_alone_means_one_row_and_no_padding():
    seen = []

    def spy(batch):
        seen.append(batch["input_ids"].shape)
        return total(batch)

    outputs_of(spy, [row(3, 1), row(5, 1), row(2, 1)], alone=True, workers=1, max_tokens=10**9)
    assert seen == [(1, 3), (1, 5), (1, 2)]


def test_padding_uses_the_models_own_pad_token_and_is_masked():
    seen = {}

    def spy(batch):
        seen.update(batch)
        return total(batch)

    outputs_of(spy, [row(1, 5), row(3, 6)], alone=False, workers=1, max_tokens=100, pad_id=9)
    assert seen["input_ids"].tolist() == [[6, 6, 6], [5, 9, 9]]
    assert seen["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_workers_run_at_the_same_time():
    meet = threading.Barrier(2, timeout=10)

    def both(batch):
        meet.wait()
        return total(batch)

    outputs_of(both, [row(1, 1), row(1, 1)], alone=True, workers=2, max_tokens=1)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_engine_that_fails_stops_everything_and_says_so(workers):
    calls = []

    def fails(batch):
        calls.append(1)
        raise MemoryError("too big")

    with pytest.raises(MemoryError, match="too big"):
        outputs_of(fails, [row(1, 1)] * 50, alone=True, workers=workers, max_tokens=1)
    assert len(calls) <= workers


def test_cores_are_filled_one_way_or_the_other(monkeypatch):
    monkeypatch.setattr("burnish.serve.predict.cores", lambda: 8)
    assert shape(True, None, None) == (8, 1)
    assert shape(True, None, 2) == (4, 2)
    assert shape(False, None, None) == (1, 8)
    assert shape(False, 2, None) == (2, 4)
    assert shape(True, 3, 5) == (3, 5)


def test_an_artifact_answers_as_its_task_says(int8, texts):
    local = Local(int8)
    answers = local.predict(texts)
    outputs_NC = local.outputs(texts)
    assert answers == local.task.decode(outputs_NC)
    assert local.predict([]) == []
    assert local.outputs([]).shape == (0, 2)


def test_a_text_that_was_cut_says_so(int8):
    found = Local(int8).predict(["good", "good " * 200])
    assert "truncated" not in found[0]
    assert found[1]["truncated"] is True


def test_alone_rows_do_not_depend_on_company_or_workers(int8, texts):
    one = Local(int8, workers=1)
    assert (one.outputs(texts) == np.concatenate([one.outputs([t]) for t in texts])).all()
    assert (one.outputs(texts) == Local(int8, workers=4).outputs(texts)).all()
