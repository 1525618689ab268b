"""Keep only the tokens that the data and its neighbourhood use; renumber the tokenizer to match.

no paper: the idea is as old as vocabularies; Abdaoui, Pradel, Sigel, "Load What You Need: Smaller Versions of
Multilingual BERT", SustaiNLP 2020, arXiv:2010.05609, measured it. Differs from them: a token is kept when the
training rows use it, when it is a single character (so that unknown words can still be spelled), or when it is
among the `spare` most common others (low ids are common tokens in every tokenizer trained by count).

When it helps: size. In a small encoder half of the bytes are the embedding table. Speed does not change.
What it costs: words that the training rows never showed and that are rare are spelled in more pieces.

Shapes: V = tokens before, K = tokens kept, H = width.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from burnish.core import Rng, Work
from burnish.errors import UsageError, problem
from burnish.train.batches import encode
from burnish.words import say

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    spare: int = 4000  # common tokens kept although the training rows do not use them

    def __call__(self, work: Work, rng: Rng) -> Work:
        table = work.model.get_input_embeddings()
        if type(table) is not nn.Embedding:
            given = say("the embedding table of this model is already quantized")
            raise UsageError(problem(given, say("a float model"), say("put compress/vocabulary before compress/int8")))
        form = json.loads(work.tokenizer.backend_tokenizer.to_str())
        used = {token for row in encode(work.tokenizer, work.train, 10**6) for token in row["input_ids"]}
        kept = kept_ids(form, used | _special_ids(work.tokenizer), self.spare)
        tokenizer = _with_form(work.tokenizer, trimmed(form, kept))
        model = _sliced(work.model, kept)
        _renumber_config(model.config, kept)
        notes = {"tokens_before": table.num_embeddings, "tokens": len(kept), "used": len(used)}
        return replace(work, model=model, tokenizer=tokenizer, notes=notes)


# -- the maths -----------------------------------------------------------------------------------------


def kept_ids(form: Mapping[str, Any], used: Iterable[int], spare: int) -> list[int]:
    """Old ids to keep, in rising order, for a tokenizer in the tokenizers library's JSON form."""
    vocabulary = _vocabulary(form)
    names = {i: token for token, i in vocabulary.items()}
    keep = {i for i in used if i in names} | {t["id"] for t in form.get("added_tokens", [])}
    seen = {c for i in keep for c in names.get(i, "")}
    keep |= {
        i for token, i in vocabulary.items() if _is_character(token, form) and (token[-1] < "ɐ" or token[-1] in seen)
    }
    if form["model"]["type"] == "BPE":
        keep |= {i for token, i in vocabulary.items() if len(token) == 1}  # the byte alphabet: nothing is unknown
    others = (i for i in sorted(names) if i not in keep and not names[i].startswith("[unused"))
    keep |= {i for i, _ in zip(others, range(spare), strict=False)}
    if form["model"]["type"] == "BPE":
        keep |= _ancestors(form, {names[i] for i in keep if i in names})
    return sorted(keep)


def trimmed(form: Mapping[str, Any], kept: list[int]) -> dict[str, Any]:
    """The tokenizer's JSON form with only the `kept` old ids, renumbered 0.. in their order."""
    new = {old: i for i, old in enumerate(kept)}
    made = copy.deepcopy(dict(form))
    model = made["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept if old < len(model["vocab"])]
        model["unk_id"] = new[model["unk_id"]]
    else:
        model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    if model["type"] == "BPE":
        model["merges"] = [m for m in model["merges"] if _possible(m, model["vocab"])]
    for token in made.get("added_tokens", []):
        token["id"] = new[token["id"]]
    _renumber_processor(made.get("post_processor"), new)
    if made.get("padding"):
        made["padding"]["pad_id"] = new[made["padding"]["pad_id"]]
    return made


def _vocabulary(form: Mapping[str, Any]) -> dict[str, int]:
    kind, vocabulary = form["model"]["type"], form["model"].get("vocab")
    if kind == "Unigram":
        return {token: i for i, (token, _) in enumerate(vocabulary)}
    if kind in ("WordPiece", "BPE", "WordLevel"):
        return dict(vocabulary)
    known = "WordPiece, BPE, Unigram, WordLevel"
    raise UsageError(problem(say("a tokenizer of type {kind}", kind=kind), known, say("leave compress/vocabulary out")))


def _is_character(token: str, form: Mapping[str, Any]) -> bool:
    prefix = form["model"].get("continuing_subword_prefix") or ""
    return len(token) == 1 or (bool(prefix) and token.startswith(prefix) and len(token) == len(prefix) + 1)


def _ancestors(form: Mapping[str, Any], tokens: set[str]) -> set[int]:
    """BPE builds a token by merging two shorter ones: those must stay, and the ones they are made of."""
    vocabulary = form["model"]["vocab"]
    parents: dict[str, list[tuple[str, str]]] = {}
    for merge in form["model"]["merges"]:
        left, right = _halves(merge)
        parents.setdefault(left + right, []).append((left, right))
    todo, found = list(tokens), set(tokens)
    while todo:
        for pair in parents.get(todo.pop(), []):
            for half in pair:
                if half not in found:
                    found.add(half)
                    todo.append(half)
    return {vocabulary[token] for token in found if token in vocabulary}


def _halves(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _possible(merge: Any, vocabulary: Mapping[str, int]) -> bool:
    left, right = _halves(merge)
    return left in vocabulary and right in vocabulary and left + right in vocabulary


def _renumber_processor(part: Any, new: Mapping[int, int]) -> None:
    """Special tokens have their ids in the post-processor too, in one of three shapes; changed in place."""
    if not part:
        return
    for inner in part.get("processors", []):
        _renumber_processor(inner, new)
    for token in part.get("special_tokens", {}).values() if part["type"] == "TemplateProcessing" else []:
        token["ids"] = [new[i] for i in token["ids"]]
    for name in ("cls", "sep"):
        if isinstance(part.get(name), list):
            part[name][1] = new[part[name][1]]


# -- the plumbing --------------------------------------------------------------------------------------


def _special_ids(tokenizer: Any) -> set[int]:
    return {int(i) for i in tokenizer.all_special_ids}


def _with_form(tokenizer: Any, form: Mapping[str, Any]) -> Any:
    from tokenizers import Tokenizer

    made = copy.deepcopy(tokenizer)
    made._tokenizer = Tokenizer.from_str(json.dumps(form))
    return made


def _sliced(model: nn.Module, kept: list[int]) -> nn.Module:
    made = copy.deepcopy(model)
    old = made.get_input_embeddings()  # type: ignore[operator]
    weight_KH = old.weight.data[torch.tensor(kept)].clone()
    pad = None if old.padding_idx is None else kept.index(old.padding_idx)
    small = nn.Embedding.from_pretrained(weight_KH, freeze=False, padding_idx=pad)
    made.set_input_embeddings(small)  # type: ignore[operator]
    return made


def _renumber_config(config: Any, kept: list[int]) -> None:
    new = {old: i for i, old in enumerate(kept)}
    config.vocab_size = len(kept)
    for name in (
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "cls_token_id",
        "sep_token_id",
        "unk_token_id",
    ):
        old = getattr(config, name, None)
        if isinstance(old, int):
            setattr(config, name, new.get(old))
