"""Models that write, small enough to train in seconds: a masked LM, a causal LM and two that translate.

Each is a folder as `save_pretrained` writes it, made once for this version of the file and kept among the temporary
files, since the conformance suite asks for it from many processes.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.tiny import tiny_rows, tiny_tokenizer, tiny_vocabulary

HERE = Path(__file__)


def mlm_folder() -> Path:
    """A BERT that has read tiny rows with gaps, and fills them with words that stand in such rows."""
    return _kept("mlm", _train_mlm)


def causal_folder() -> Path:
    """A GPT-2 that ends a quoted text: it goes on in tiny words, then closes the JSON object."""
    return _kept("causal", _train_causal)


def seq2seq_folder(seed: int) -> Path:
    """A T5 that has been shown for two seconds how to say four of the words it reads."""
    return _kept(f"seq2seq-{seed}", lambda folder: _train_seq2seq(folder, seed))


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    sources = HERE.read_bytes() + (HERE.parents[1] / "tiny.py").read_bytes()
    place = Path(tempfile.gettempdir()) / f"burnish-tiny-{hashlib.sha256(sources).hexdigest()[:12]}-{os.getuid()}"
    folder = place / name
    if not folder.is_dir():
        place.mkdir(exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=place))
        make(fresh)
        try:
            fresh.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(fresh)
    return folder


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _train(model: Any, batch: Callable[[Random], dict[str, Any]], steps: int, lr: float) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr)
    rng = Random(0)
    model.train()
    for _ in range(steps):
        model(**batch(rng)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _train_mlm(folder: Path) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tiny_vocabulary()),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    texts = [row.text for row in tiny_rows(200, seed=5)]

    def batch(rng: Random) -> dict[str, Any]:
        found = tokenizer(rng.sample(texts, 32), padding=True, return_tensors="pt")
        words = found["input_ids"] >= 5
        gaps = words & (torch.rand(words.shape) < 0.2)
        labels = found["input_ids"].masked_fill(~gaps, -100)
        found["input_ids"] = found["input_ids"].masked_fill(gaps, tokenizer.mask_token_id)
        return {**found, "labels": labels}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForMaskedLM(config)
        _train(model, batch, 150, 5e-3)
    _save(model, tokenizer, folder)


# Pieces of a JSON line, so that a model that knows which piece follows which writes one.
JSON = ('{"', '": "', '", "', '"}', '"')
WORDS = tuple(w for w in tiny_vocabulary() if w.isalpha() and len(w) > 1)


def lossless_tokenizer() -> Any:
    """Words, spaces, lines and pieces of JSON, one token each; text comes back as it went in."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = dict.fromkeys(["<unk>", "<eos>", "<pad>", " ", "\n", *JSON, *WORDS, "text", "rewritten", "label"])
    core = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
    pattern = "|".join(re.escape(p) for p in JSON) + r"|[A-Za-z]+| |\n|."
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        eos_token="<eos>",
        pad_token="<pad>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def _train_causal(folder: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = lossless_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=512,
        n_embd=32,
        n_layer=1,
        n_head=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
    )

    def batch(rng: Random) -> dict[str, Any]:
        lines = [
            f'{{"label": "pos", "text": "{" ".join(rng.choices(WORDS, k=rng.randint(3, 7)))}"}}\n' for _ in range(32)
        ]
        found = tokenizer(lines, padding=True, return_tensors="pt")
        labels = found["input_ids"].masked_fill(found["attention_mask"] == 0, -100)
        # Such lines stand after examples of any length.
        place = torch.arange(labels.shape[1]) + rng.randrange(512 - labels.shape[1])
        return {"input_ids": found["input_ids"], "position_ids": place.expand_as(labels), "labels": labels}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPT2LMHeadModel(config)
        _train(model, batch, 150, 1e-2)
    _save(model, tokenizer, folder)


def _train_seq2seq(folder: Path, seed: int) -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = lossless_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )

    def batch(rng: Random) -> dict[str, Any]:
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(4, 9))) for _ in range(32)]
        found = tokenizer(texts, padding=True, return_tensors="pt")
        # Four of the words that were read, which is a lesson of two seconds.
        ends = [" ".join(rng.sample(text.split(), 4)) + "<eos>" for text in texts]
        ends = tokenizer(ends, padding=True, return_tensors="pt")
        labels = ends["input_ids"].masked_fill(ends["attention_mask"] == 0, -100)
        return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"], "labels": labels}

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = T5ForConditionalGeneration(config)
        _train(model, batch, 150, 1e-2)
    _save(model, tokenizer, folder)
