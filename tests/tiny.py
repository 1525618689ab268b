"""A model small enough to print, its tokenizer, and rows it can learn in a second. No download."""

import random
import re
import string
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from burnish.core import Row, Span, Work
from burnish.tasks import make

GOOD = ("good", "great", "lovely", "fine", "bright")
BAD = ("bad", "awful", "poor", "dull", "broken")
PLAIN = ("the", "film", "was", "a", "story", "with", "battery", "and", "it", "really", "plot", "phone")
RARE = ("zebra", "quartz", "fjord")  # in the vocabulary, and in no row
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CHARACTERS = string.ascii_lowercase + string.digits + ".,!?'-"


def tiny_vocabulary() -> dict[str, int]:
    """Specials first, as in BERT, then words, then every character alone and as a continuation."""
    pieces = [*SPECIAL, *GOOD, *BAD, *PLAIN, *RARE, *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    return {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}


def tiny_tokenizer() -> Any:
    """A lower-casing WordPiece tokenizer that behaves as BERT's: [CLS] a [SEP] b [SEP], at most 64 tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertTokenizerFast

    vocabulary = tiny_vocabulary()
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return BertTokenizerFast(tokenizer_object=core, model_max_length=64)


def tiny_model(labels: int = 2, layers: int = 2, seed: int = 0) -> Any:
    """BERT with a head of `labels` outputs, 32 wide, in eval mode; the same seed gives the same weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=len(tiny_vocabulary()),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=labels,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BertForSequenceClassification(config).eval()


def tiny_rows(n: int, role: str = "data", seed: int = 0) -> list[Row]:
    """`n` rows, 'neg' and 'pos' in turn; one word of a few tells the label, so it can be learned."""
    rng = random.Random(f"{seed}/{role}")
    rows, seen = [], set()
    while len(rows) < n:
        label = ("neg", "pos")[len(rows) % 2]
        words = rng.choices(PLAIN, k=rng.randint(4, 9))
        words.insert(rng.randrange(len(words)), rng.choice(GOOD if label == "pos" else BAD))
        text = " ".join(words)
        if text not in seen:
            seen.add(text)
            rows.append(Row(f"{role}:{len(rows)}", text, None, label))
    return rows


def tiny_work(train: int = 64, valid: int = 32, layers: int = 2, seed: int = 0) -> Work:
    """All of the above as the value that steps take."""
    rows = tiny_rows(train + valid, seed=seed)
    task = make("text-classification", labels=("neg", "pos"))
    return Work(tiny_model(layers=layers, seed=seed), tiny_tokenizer(), task, rows[:train], rows[train:])


def tiny_spans(rows: Sequence[Row]) -> list[Row]:
    """The rows with spans as targets: things and opinions."""
    labels = {"film": "THING", "plot": "THING", "phone": "THING", **dict.fromkeys(GOOD + BAD, "OPINION")}
    found = [[Span(m.start(), m.end(), labels.get(m.group(), "")) for m in re.finditer(r"\w+", r.text)] for r in rows]
    return [replace(r, target=tuple(s for s in spans if s.label)) for r, spans in zip(rows, found, strict=True)]
