"""Requests are understood or refused with a clear body; nothing else can happen."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.serve.wire import Refusal, answer_body, parse, patience

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["inputs", "raw", "x"]), inner),
    max_leaves=6,
)


def read(value, *, pair=False, truncate=False, max_inputs=3):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse(body, pair=pair, truncate=truncate, max_inputs=max_inputs)


def refused(value, **settings):
    with pytest.raises(Refusal) as found:
        read(value, **settings)
    error = json.loads(found.value.body)["error"]
    assert found.value.status == 422
    assert error["type"] == "invalid_request"
    return error["message"]


def test_one_text_or_many():
    assert read({"inputs": "a"}).texts == ["a"]
    assert read({"inputs": ["a", "b"]}).texts == ["a", "b"]
    assert read({"inputs": ""}).texts == [""]


def test_pairs_and_one_pair_without_its_list():
    assert read({"inputs": [["a", "b"], ["c", "d"]]}, pair=True).texts == [("a", "b"), ("c", "d")]
    assert read({"inputs": ["a", "b"]}, pair=True).texts == [("a", "b")]


def test_flags_have_the_servers_default_until_the_request_says_otherwise():
    assert read({"inputs": "a"}).truncate is False
    assert read({"inputs": "a"}, truncate=True).truncate is True
    assert read({"inputs": "a", "truncate": False}, truncate=True).truncate is False
    assert read({"inputs": "a", "raw": True}).raw is True


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"inputs": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"inputs":' * 50_000, "not JSON"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "not JSON"),
        ("a", "not an object"),
        ([1], "not an object"),
        ({}, "missing"),
        ({"input": "a"}, "did you mean 'inputs'"),
        ({"inputs": "a", "truncat": True}, "did you mean 'truncate'"),
        ({"inputs": None}, "got null"),
        ({"inputs": 3}, "got a number"),
        ({"inputs": {"a": 1}}, "got an object"),
        ({"inputs": []}, "0 entries; 1 to 3"),
        ({"inputs": ["a"] * 4}, "4 entries; 1 to 3"),
        ({"inputs": ["a", 3]}, "input 1 must be a text"),
        ({"inputs": [["a", "b"]]}, "input 0 must be a text for this model, got a list"),
        ({"inputs": "a", "truncate": "yes"}, "true or false"),
        ({"inputs": "a", "raw": 1}, "true or false"),
        (b'{"inputs": ["a", "\\ud800"]}', "input 1 has a lone surrogate"),
    ],
)
def test_anything_else_is_refused_with_the_reason(value, says):
    assert says in refused(value)


@pytest.mark.parametrize("inputs", ["a", ["a"], ["a", "b", "c"], [["a"]], [["a", "b", "c"]], [["a", 3]], [[]], [{}], 3])
def test_a_model_on_pairs_refuses_what_is_no_pair(inputs):
    refused({"inputs": inputs}, pair=True)


@given(JSON, st.booleans())
def test_no_json_gets_anything_but_texts_or_a_refusal(value, pair):
    try:
        found = read(value, pair=pair).texts
    except Refusal:
        return
    assert 1 <= len(found) <= 3


@given(st.binary(max_size=60))
def test_no_bytes_do_either(body):
    with pytest.raises(Refusal):
        read(body)


def test_a_clients_patience_is_at_most_the_servers():
    assert patience(None, 30) == 30
    assert patience(b"1500", 30) == 1.5
    assert patience(b"99999999999999999999999", 30) == 30


@pytest.mark.parametrize("header", [b"", b"0", b"-1", b"1.5", b"soon", "²".encode(), b"1e3"])
def test_a_patience_that_is_no_number_is_refused(header):
    with pytest.raises(Refusal, match="X-Timeout-Ms"):
        patience(header, 30)


def test_raw_outputs_read_back_to_the_same_bits():
    outputs = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    found = json.loads(answer_body([{"label": "é"}] * 5, [False, True, False, False, False], outputs))
    assert (np.array([row["outputs"] for row in found], dtype=np.float32) == outputs).all()
    assert [row.get("truncated") for row in found] == [None, True, None, None, None]
    assert found[0]["label"] == "é"
