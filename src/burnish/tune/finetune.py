"""Fine-tune all weights with AdamW: the reference that every compressed model is compared with.

Paper: Devlin, Chang, Lee, Toutanova, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", NAACL 2019, arXiv:1810.04805, with the steadier recipe of Mosbach, Andriushchenko, Klakow, "On the
Stability of Fine-tuning BERT", ICLR 2021, arXiv:2006.04884 (bias correction, warmup, more epochs on few rows).
Differs from them: batches of like length, early stopping on the task's own metric, bf16 where it is faster.

When it helps: always; a pretrained encoder with a fresh head knows nothing of the labels.
What it costs: about three forward passes a row and epoch; four times the weights in memory.
"""

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

from burnish.core import Rng, Work
from burnish.train.evaluate import pad_id_of
from burnish.train.finder import Bench, auto
from burnish.train.loop import train
from burnish.train.parts import Batching, Clip, Objective, Optimizer, Rates, Schedule, Weighting
from burnish.train.prepare import bounded, encode_work, settings_for
from burnish.train.tweak import Tweak

__all__ = ["FineTune"]


@dataclass(frozen=True)
class FineTune:
    """None means: chosen from the model's size and the number of rows, and said why in the notes."""

    lr: float | Literal["auto"] | None = None  # peak learning rate; auto looks for it, as far as time allows
    epochs: int | None = None
    steps: int | None = None  # optimizer steps, whole epochs or not; epochs then only says how often it is evaluated
    batch_size: int | None = None  # rows an optimizer step
    accumulate: int | Literal["auto"] = 1  # micro-batches a step is cut into: less memory, same result; auto tries
    optimizer: Optimizer | None = None  # such as lion; None is AdamW
    schedule: Schedule | None = None  # such as cosine; None is a line to zero
    warmup: float | None = None  # share of all steps; 1 and more is a number of steps
    weight_decay: float = 0.01  # on matrices only
    clip: float | Clip = 1.0  # largest gradient norm, 0 is off; or a technique, such as zclip
    objective: Objective | None = None  # such as focal; None is the task's own loss
    weighting: Weighting | None = None  # such as class_weights; None counts every row alike
    rates: tuple[Rates, ...] = ()  # such as layer_decay: multiples of the rate by parameter
    batching: Batching | None = None  # such as token_budget; None puts rows of like length together
    tweaks: tuple[Tweak, ...] = ()  # such as rdrop, ema, lora: from the outside in
    max_length: int | None = None  # tokens a row; None fits 99 of 100 rows
    precision: str = "auto"  # auto, fp32, bf16, fp16 or fp8
    evals_per_epoch: int = 2
    patience: int = 6  # evaluations without a better score before stopping; 0 never stops early
    min_difference: float = 0.0  # how much better a score must be to count as better
    doctor: Literal["act", "advise", "off"] = "act"  # watches the run: acts on what goes wrong, or only says it

    def __call__(self, work: Work, rng: Rng) -> Work:
        settings, max_length, reasons = settings_for(work, self)
        learn, valid = encode_work(work, max_length)
        seed, pad_id = rng.getrandbits(31), pad_id_of(work.tokenizer)
        found: dict[str, Any] = {}
        if self.lr == "auto":
            named = auto(Bench(work.model, work.task, learn, valid, settings, seed, pad_id, self.tweaks))
            settings, reasons = replace(settings, lr=named.suggested), [*reasons, named.why]
            found = {"lr_finder": named.to_json()}
        trained = train(
            copy.deepcopy(work.model),
            work.task,
            learn,
            valid,
            settings,
            seed=seed,
            pad_id=pad_id,
            tweaks=self.tweaks,
        )
        told = [trained.notes[name] for name in ("accumulate", "memory") if name in trained.notes]
        notes = {**trained.notes, **found, "reasons": [*reasons, *told], "max_length": max_length}
        return replace(work, model=trained.model, tokenizer=bounded(work.tokenizer, max_length), notes=notes)
