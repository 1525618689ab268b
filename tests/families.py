"""A tiny classifier of every family that burnish knows, on the tiny tokenizer."""

from dataclasses import replace
from typing import Any

from burnish.core import Work
from tests.tiny import tiny_vocabulary, tiny_work

KINDS = ("bert", "roberta", "electra", "distilbert", "mpnet", "deberta-v2", "modernbert")
USUAL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
OWN: dict[str, dict[str, Any]] = {
    "roberta": {"max_position_embeddings": 66, "pad_token_id": 1, "type_vocab_size": 1},
    "mpnet": {"max_position_embeddings": 66, "pad_token_id": 1},
    "electra": {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
    "modernbert": {
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0),
    },
}


def family_model(kind: str, labels: int = 2, seed: int = 0) -> Any:
    """A model of family `kind`: 3 layers, 4 heads, 32 wide, in eval mode."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    usual = {} if kind == "distilbert" else USUAL
    facts = {"vocab_size": len(tiny_vocabulary()), "max_position_embeddings": 64, "num_labels": labels, **usual}
    config = AutoConfig.for_model(kind, **{**facts, **OWN.get(kind, {})})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_config(config).eval()


def family_work(kind: str, **sizes: int) -> Work:
    return replace(tiny_work(**sizes), model=family_model(kind))
