"""Runs of a second for tweaks: cut and resumed, and a look at what they leave behind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from burnish import models
from burnish.core import Desk, Work, lend
from burnish.models import FAMILIES
from burnish.train import checkpoint, loop, moments
from burnish.train.evaluate import outputs_of_rows
from burnish.train.parts import Rates
from burnish.tune.finetune import FineTune
from tests.tiny import tiny_model, tiny_work

LOOP = ("curve", "evals", "best_step", "steps", "clipped_share", "first_loss")
TWEAKS = ("rdrop_divergence", "ema_steps", "swa_steps", "soup", "pretrained_drift", "reinitialized")
PASSES = ("attack_rise", "mixup_lambda", "consistency")
COURSE = (*LOOP, *TWEAKS, *PASSES)


class Killed(BaseException):
    pass


def tuned(work: Work | None = None, **settings: Any) -> Work:
    """12 steps over 2 epochs, 4 evaluations, with dropout, without the doctor."""
    usual = {"doctor": "off", "epochs": 2, "precision": "fp32", "batch_size": 12, "lr": 3e-3, "patience": 0}
    return FineTune(**{**usual, **settings})(work or tiny_work(), Random(0))


def weights_of(work: Work) -> dict[str, torch.Tensor]:
    return work.model.state_dict()


def same_weights(a: Work, b: Work) -> bool:
    pairs = zip(weights_of(a).items(), weights_of(b).items(), strict=True)
    return all(m == n and torch.equal(x, y) for (m, x), (n, y) in pairs)


def told(work: Work) -> dict[str, Any]:
    """What a run says of its course, without times and memory."""
    return {name: work.notes.get(name) for name in COURSE}


def cut_equals_straight(at: int, folder: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[], Work]) -> bool:
    """Whether `run`, killed right after its checkpoint of step `at` and started again, ends in the same bits."""
    whole = run()
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    saves = []

    def save_then_die(folder, step, tensors, state):
        checkpoint.save(folder, step, tensors, state)
        saves.append(step)
        if step >= at:
            raise Killed

    with lend(Desk(folder=folder)):
        monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
        with pytest.raises(Killed):
            run()
        monkeypatch.setattr(moments, "write_checkpoint", checkpoint.save)
        resumed = run()
    assert saves[-1] == at
    return same_weights(whole, resumed) and told(whole) == told(resumed)


def is_plain_and_reloads(made: Work, folder: Path) -> bool:
    """Whether the model has the modules it began with, in type and rate, and answers alike once saved and loaded."""
    before = {name: (type(m), getattr(m, "p", None)) for name, m in tiny_model().named_modules()}
    after = {name: (type(m), getattr(m, "p", None)) for name, m in made.model.named_modules()}
    models.save(made.model, made.tokenizer, folder)
    model, tokenizer = models.load_saved(folder)
    said = outputs_of_rows(made.model, made.tokenizer, made.valid, 64)
    return before == after and bool((said == outputs_of_rows(model, tokenizer, made.valid, 64)).all())


@dataclass(frozen=True)
class HeadOnly(Rates):
    """Freezes all but the last layer."""

    def scale(self, name: str, depth: int, layers: int) -> float:
        return float(name.startswith("classifier"))


def model_of(family: str, **settings: Any) -> Any:
    """A tiny classifier of three layers of any family that burnish knows."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    sizes = {"vocab_size": 40, "num_labels": 2, "pad_token_id": 0, "max_position_embeddings": 40}
    if family == "distilbert":
        sizes |= {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
    else:
        sizes |= {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    if family == "modernbert":
        sizes |= {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    assert family in FAMILIES
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, **sizes, **settings))
