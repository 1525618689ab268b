"""Served equals measured; where it does not, the hand-off that is to blame is named."""

import shutil

import numpy as np
import pytest

from burnish.core import Row
from burnish.errors import BurnishError
from burnish.serve import parity
from burnish.serve.parity import served_outputs, trace
from burnish.serve.predict import Local
from tests.tiny import tiny_rows, tiny_work


@pytest.fixture(scope="module")
def rows():
    return tiny_rows(24, seed=5)


def flipped(outputs_NC, *where):
    """The same outputs with the answers of some rows turned round."""
    made = outputs_NC.copy()
    made[list(where)] = made[list(where)][:, ::-1]
    return made


def test_the_server_says_the_very_bits_that_were_measured(int8, rows):
    expected = Local(int8).outputs([row.text for row in rows])
    served = served_outputs(int8, rows)
    assert (served.outputs == expected).all()
    assert served.answers == Local(int8).predict([row.text for row in rows])
    found = trace(int8, rows, expected, served.outputs)
    assert found == {
        "rows": 24, "flips": 0, "max_abs": 0.0, "batching": "rows alone", "handoff": None, "examples": [],
    }  # fmt: skip


def test_rows_that_must_be_cut_are_served_too(int8):
    served = served_outputs(int8, [Row("a:0", "good " * 100)])
    assert served.answers[0]["truncated"] is True


def test_a_server_that_does_not_start_says_its_last_words(int8, tmp_path, rows):
    folder = shutil.copytree(int8, tmp_path / "artifact")
    (folder / "model.onnx").write_bytes(b"")
    with pytest.raises(BurnishError, match=r"did not start: .*model\.onnx is damaged"):
        served_outputs(folder, rows)


def test_a_row_that_the_server_refuses_is_named(int8):
    with pytest.raises(BurnishError, match="answered 422 for row a:7"):
        served_outputs(int8, [Row("a:7", "\ud800")])


# -- the blame: break one link at a time and see that it is found ------------------------------------------


@pytest.fixture
def local(plain, rows):
    return Local(plain).outputs([row.text for row in rows])


def test_flips_are_counted_and_shown(plain, rows, local):
    found = trace(plain, rows, local, flipped(local, 3, 5))
    assert found["flips"] == 2
    assert [e["id"] for e in found["examples"]] == [rows[3].id, rows[5].id]
    assert found["examples"][0]["expected"] != found["examples"][0]["served"]


def test_nan_from_the_server_is_a_flip(plain, rows, local):
    served = local.copy()
    served[1] = np.nan
    found = trace(plain, rows, local, served)
    assert (found["flips"], found["max_abs"]) == (1, None)


def test_the_tokenizer_is_blamed_when_ids_differ(plain, rows, local):
    from tests.tiny import tiny_tokenizer

    other = tiny_tokenizer()
    other.add_tokens(["fil", "sto"])
    found = trace(plain, rows, local, flipped(local, *range(24)), tokenizer=other)
    assert found["handoff"] == "tokenizer"


def test_the_export_is_blamed_when_the_engine_alone_differs(plain, rows, local):
    work = tiny_work()
    expected = flipped(local, 2)
    found = trace(plain, rows, expected, local, tokenizer=work.tokenizer, model=work.model)
    assert found["handoff"] == "export"


def test_the_precision_is_blamed_when_torch_was_float(int8, rows):
    work = tiny_work()
    measured = Local(int8).outputs([row.text for row in rows])
    found = trace(int8, rows, flipped(measured, 2), measured, tokenizer=work.tokenizer, model=work.model)
    assert found["handoff"] == "precision"


def test_batching_is_blamed_for_what_the_engine_does_alone(plain, rows, local, monkeypatch):
    real = parity.outputs_of

    def leaky(*args, alone, **settings):
        found = real(*args, alone=alone, **settings)
        return flipped(found, 0) if alone else found

    monkeypatch.setattr(parity, "outputs_of", leaky)
    assert trace(plain, rows, local, flipped(local, 4))["handoff"] == "batching"


def test_batching_is_blamed_when_company_changes_the_answer(plain, rows, local, monkeypatch):
    real = parity.outputs_of

    def leaky(*args, alone, **settings):
        found = real(*args, alone=alone, **settings)
        return found if alone else flipped(found, 0)

    monkeypatch.setattr(parity, "outputs_of", leaky)
    found = trace(plain, rows, local, flipped(local, 4), tokenizer=tiny_work().tokenizer)
    assert found["handoff"] == "batching"


def test_the_server_is_blamed_when_all_before_it_agrees(plain, int8, rows, local):
    assert trace(plain, rows, local, flipped(local, 4))["handoff"] == "server"
    alone = Local(int8).outputs([row.text for row in rows])
    assert trace(int8, rows, alone, flipped(alone, 4))["handoff"] == "server"
