"""A masked language model as a source of words: which words fit into the gaps of these texts?

    texts, gaps ──tokens, a mask for each gap──► batches of like length ──► logits at the masks ──► words

Only whole words are candidates, so a gap takes one mask however many pieces its word had, and only what stands at
the masks goes through the widest layer, which for a small model is most of the work.

Shapes: B = rows of a batch, S = tokens, H = width, M = masks, W = candidate words, K = the likeliest
of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish import models
from burnish.augment._edits import NEGATIONS
from burnish.errors import Missing, UsageError, problem
from burnish.train.batches import collate
from burnish.train.evaluate import pad_id_of
from burnish.words import say

__all__ = ["Filler", "Gaps", "filler", "like_case", "likeliest", "whole_words"]


@dataclass(frozen=True)
class Gaps:
    """A text and the words in it to be masked: (start, end), sorted and apart. `before` is read first, unmasked."""

    text: str
    words: tuple[tuple[int, int], ...]
    before: str = ""  # such as "positive: ", which tells the model what kind of text this is
    beside: str | None = None  # an unmasked text in front, as the first of a pair


class Filler:
    """A masked language model and the words that it may put into gaps."""

    def __init__(self, model: Any, tokenizer: Any):
        self._model, self._tokenizer = model.eval(), tokenizer
        ids, self.words = zip(*whole_words(tokenizer), strict=True)
        self.places = {word: i for i, word in enumerate(self.words)}
        self._limit = models.longest(model, tokenizer)
        self._at_BS = torch.zeros(0, dtype=torch.bool)
        self._narrow(list(ids))

    def _narrow(self, ids: list[int]) -> None:
        """Let the last layer compute what is asked for alone: the candidates, at the masks."""
        decoder = self._model.get_output_embeddings()
        decoder.weight = torch.nn.Parameter(decoder.weight.detach()[ids].clone(), requires_grad=False)
        if decoder.bias is not None:
            decoder.bias = torch.nn.Parameter(decoder.bias.detach()[ids].clone(), requires_grad=False)
        decoder.register_forward_pre_hook(lambda _, inputs: (inputs[0][self._at_BS],))

    def logits(self, asked: Sequence[Gaps], size: int) -> Iterator[tuple[list[int], list[list[int]], Tensor]]:
        """Batches of (which of `asked`, which of its gaps by row, logits [M, W] in that order).

        A gap that the model cannot see, beyond its longest text or across a token, has no line.
        """
        masked = self._masked(asked)
        full = [i for i, (_, gaps) in enumerate(masked) if gaps]
        lengths = np.array([len(masked[i][0]["input_ids"]) for i in full])
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(full), size):
            batch = [full[i] for i in order[start : start + size]]
            yield batch, [masked[i][1] for i in batch], self._forward([masked[i][0] for i in batch])

    def _forward(self, encoded: list[dict[str, list[int]]]) -> Tensor:
        inputs = collate(encoded, pad_id_of(self._tokenizer))
        self._at_BS = inputs["input_ids"] == self._tokenizer.mask_token_id
        with torch.inference_mode():
            return self._model(**inputs).logits.float()

    def _masked(self, asked: Sequence[Gaps]) -> list[tuple[dict[str, list[int]], list[int]]]:
        """Token ids with the masks in, and which gaps they are."""
        texts = [gaps.before + gaps.text for gaps in asked]
        beside = [gaps.beside or "" for gaps in asked]
        paired = any(gaps.beside is not None for gaps in asked)
        found = self._tokenizer(
            *((beside, texts) if paired else (texts,)),
            truncation=True,
            max_length=self._limit,
            return_offsets_mapping=True,
        )
        made = []
        for i, gaps in enumerate(asked):
            side = [s == (1 if paired else 0) for s in found.sequence_ids(i)]
            names = [n for n in self._tokenizer.model_input_names if n in found and n != "attention_mask"]
            row = {name: found[name][i] for name in names}
            made.append(self._with_masks(row, found["offset_mapping"][i], side, gaps))
        return made

    def _with_masks(
        self, row: dict[str, list[int]], offsets: Sequence[tuple[int, int]], side: Sequence[bool], gaps: Gaps
    ) -> tuple[dict[str, list[int]], list[int]]:
        shift, at, cuts, seen = len(gaps.before), 0, [], []
        for number, (start, end) in enumerate(gaps.words):
            low, high = start + shift, end + shift
            while at < len(offsets) and (not side[at] or offsets[at][1] <= low):
                at += 1
            first = at
            while at < len(offsets) and side[at] and offsets[at][0] < high:
                at += 1
            # A cut text ends inside a word now and then; half a word is no gap.
            if at > first and offsets[first][0] >= low and offsets[at - 1][1] == high:
                cuts.append((first, at))
                seen.append(number)
        return {name: self._cut(name, ids, cuts) for name, ids in row.items()}, seen

    def _cut(self, name: str, ids: list[int], cuts: Sequence[tuple[int, int]]) -> list[int]:
        """`ids` with one mask for each stretch; token types and the like keep the value of its first token."""
        made, at = [], 0
        for first, end in cuts:
            made += ids[at:first]
            made.append(self._tokenizer.mask_token_id if name == "input_ids" else ids[first])
            at = end
        return made + ids[at:]


def whole_words(tokenizer: Any) -> list[tuple[int, str]]:
    """(id, word) of every piece of the vocabulary that is a word by itself, and says neither yes nor no.

    Continuations ("##ing"), single Latin letters, specials and negations are none.
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_ids)
    opening = next((mark for mark in ("Ġ", "▁") if any(p and p.startswith(mark) for p in pieces)), "")
    found = []
    for i, piece in enumerate(pieces):
        if i in special or piece is None or not piece.startswith(opening) or piece.startswith("##"):
            continue
        word = tokenizer.convert_tokens_to_string([piece]).strip() if opening else piece
        if word.isalpha() and (len(word) > 1 or word in "aAI" or word >= "㐀") and not NEGATIONS.search(word.lower()):
            found.append((i, word))
    return found


def likeliest(
    logits_MW: Tensor, olds: Sequence[str], source: Filler, top_k: int, temperature: float = 1.0
) -> tuple[list[list[str]], list[list[float]]]:
    """The K likeliest words of each gap and their odds, without the word that was there."""
    forms = [(m, form) for m, old in enumerate(olds) for form in (old, old.lower(), old.capitalize())]
    same = [(m, source.places[form]) for m, form in forms if form in source.places]
    logits_MW = logits_MW.clone()
    logits_MW[[m for m, _ in same], [place for _, place in same]] = -torch.inf
    best_MK, at_MK = logits_MW.topk(min(top_k, len(source.words) - 1), dim=1)
    odds_MK = (best_MK / temperature).softmax(dim=1)
    return [[source.words[i] for i in line] for line in at_MK.tolist()], odds_MK.tolist()


def like_case(word: str, like: str) -> str:
    """`word` with the capitals of `like`."""
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


@lru_cache(maxsize=1)
def filler(spec: str) -> Filler:
    """The masked language model in a folder. Raises UsageError for one of another kind, Missing where there is none."""
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    if not spec:
        raise UsageError(_problem(say("no masked language model is given")))
    place = models.resolve(spec)
    try:
        with models.quiet():
            kind = (AutoConfig.from_pretrained(place, trust_remote_code=False).architectures or [""])[0]
            if not kind.endswith(("ForMaskedLM", "ForPreTraining")):
                raise UsageError(_problem(say("'{spec}' is no masked language model ({kind})", spec=spec, kind=kind)))
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            model, info = AutoModelForMaskedLM.from_pretrained(
                place, trust_remote_code=False, use_safetensors=True, dtype="float32", output_loading_info=True
            )
    except OSError as error:
        raise Missing(_problem(say("the model '{spec}' cannot be loaded: {error}", spec=spec, error=error))) from error
    if info["missing_keys"] or tokenizer.mask_token_id is None or not tokenizer.is_fast:
        raise UsageError(_problem(say("'{spec}' lacks the head, the mask or the tokenizer of one", spec=spec)))
    if not isinstance(model.get_output_embeddings(), torch.nn.Linear):
        raise UsageError(_problem(say("'{spec}' has a head of a form that is not known here", spec=spec)))
    return Filler(model, tokenizer)


def _problem(given: str) -> str:
    expected = say("a folder with a masked language model, such as BERT or RoBERTa before fine-tuning")
    return problem(given, expected, "model=path/to/bert-base-uncased")
