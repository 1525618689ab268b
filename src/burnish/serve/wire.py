"""Bytes of a request to texts, and answers or refusals to bytes. Pure functions: no socket, no queue.

Every refusal has the body {"error": {"type", "message", ...}}; `type` is for programs, `message` for people.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.errors import nearest
from burnish.serve.tokens import Text
from burnish.units import trimmed
from burnish.words import say

__all__ = ["Asked", "Refusal", "answer_body", "parse", "patience"]

KEYS = ("inputs", "truncate", "raw")


class Refusal(Exception):
    """A request that gets an error instead of an answer. `facts` join the body, `retry_after` is in seconds."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        facts: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.status, self.kind, self.retry_after = status, kind, retry_after
        self.body = json.dumps({"error": {"type": kind, "message": message, **(facts or {})}}).encode()


@dataclass(frozen=True)
class Asked:
    """A well-formed request: `texts` are all single or all pairs, as the task takes them."""

    texts: list[Text]
    truncate: bool
    raw: bool  # answer with the model's own outputs too


def parse(body: bytes, *, pair: bool, truncate: bool, max_inputs: int) -> Asked:
    """Read {"inputs": text | [text, ...] | [[first, second], ...], "truncate"?: bool, "raw"?: bool}.

    For a task on pairs, one flat list of two texts is one pair. Raises Refusal 422 for anything else.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise _bad(say("the body is not JSON: {error}", error=_short(error))) from None
    if not isinstance(found, dict):
        raise _bad(say('the body is not an object: send {"inputs": "a text"}'))
    for key in found:
        if key not in KEYS:
            close = nearest(key, KEYS)
            hint = say(", did you mean '{close}'?", close=close) if close else ""
            raise _bad(say("unknown key '{key}'{hint}; known: {known}", key=key[:80], hint=hint, known=", ".join(KEYS)))
    if "inputs" not in found:
        raise _bad(say('"inputs" is missing: a text, a list of texts, or a list of pairs'))
    texts = _pairs(found["inputs"]) if pair else _singles(found["inputs"])
    if not 1 <= len(texts) <= max_inputs:
        raise _bad(say('"inputs" has {n} entries; 1 to {most} are taken', n=len(texts), most=max_inputs))
    return Asked(texts, _flag(found, "truncate", truncate), _flag(found, "raw", False))


def _bad(message: str) -> Refusal:
    return Refusal(422, "invalid_request", message)


def _short(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__


def _flag(found: Mapping[str, Any], key: str, default: bool) -> bool:
    value = found.get(key, default)
    if not isinstance(value, bool):
        raise _bad(say('"{key}" must be true or false', key=key))
    return value


def _singles(inputs: Any) -> list[Text]:
    if isinstance(inputs, str):
        return [_text(inputs, 0)]
    if not isinstance(inputs, list):
        raise _bad(say('"inputs" must be a text or a list of texts, got {kind}', kind=_kind(inputs)))
    return [_text(value, i) for i, value in enumerate(inputs)]


def _pairs(inputs: Any) -> list[Text]:
    if not isinstance(inputs, list):
        raise _bad(say('"inputs" must be a list of pairs [first, second], got {kind}', kind=_kind(inputs)))
    if len(inputs) == 2 and all(isinstance(value, str) for value in inputs):
        inputs = [inputs]
    for i, value in enumerate(inputs):
        if not isinstance(value, list) or len(value) != 2:
            raise _bad(say("input {i} must be a pair [first, second] for this model", i=i))
    return [(_text(first, i), _text(second, i)) for i, (first, second) in enumerate(inputs)]


def _text(value: Any, i: int) -> str:
    if not isinstance(value, str):
        raise _bad(say("input {i} must be a text for this model, got {kind}", i=i, kind=_kind(value)))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _bad(say("input {i} has a lone surrogate, which is no character", i=i)) from None
    return value


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", bool: "true or false", type(None): "null", str: "a text"}
    return kinds.get(type(value), "a number")


def patience(header: bytes | None, most: float) -> float:
    """Seconds a client will wait: its X-Timeout-Ms, at most the server's own `most`. Raises Refusal 422."""
    if header is None:
        return most
    if not header.isdigit() or int(header[:18]) == 0:
        raise _bad(say("X-Timeout-Ms must be a whole number of milliseconds above 0"))
    return min(int(header[:18]) / 1000, most)


def answer_body(
    answers: Sequence[Mapping[str, Any]], truncated: Sequence[bool], outputs_NC: np.ndarray | None
) -> bytes:
    """The list of answers; cut rows say so, and carry the raw outputs when `outputs_NC` is given.

    float32 as decimal of its double reads back to the same bits.
    """
    found: list[dict[str, Any]] = [dict(answer) for answer in answers]
    for i, cut in enumerate(truncated):
        if cut:
            found[i]["truncated"] = True
        if outputs_NC is not None:
            found[i]["outputs"] = trimmed(outputs_NC[i]).tolist()
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
