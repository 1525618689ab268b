"""Let easy rows out early: a small head after chosen layers answers as soon as it is sure enough.

Paper: Liu, Zhou, Zhao, Wang, Deng, Ju, "FastBERT: a Self-distilling BERT with Adaptive Inference Time", ACL 2020,
arXiv:2004.02178 (style fastbert: the model is frozen, each head learns to say what the last one says); Xin, Tang,
Lee, Yu, Lin, "DeeBERT: Dynamic Early Exiting for Accelerating BERT Inference", ACL 2020, arXiv:2004.12993 (deebert:
frozen too, heads learn the labels); Zhou, Xu, Ge, McAuley, Xu, Wei, "BERT Loses Patience: Fast and Robust Inference
with Early Exit", NeurIPS 2020, arXiv:2006.04152 (pabee: all weights and heads together, the loss of head j counting
j times, and a row leaves when so many heads in a row agreed).
Differs from them: nobody turns a threshold by hand. It is calibrated on the validation rows, so that the share of
rows with the full model's answer is at least `agree`, with the stated confidence; where the rows are too few to prove
that, no calibration row may disagree and the notes say what this proves. A head sees the mean of all tokens beside
the first. Numbers leave when two exits in a row say nearly the same. The epoch is chosen on a tenth of the training
rows, so that the validation rows are new to the heads. It was measured at batch 1; here rows that left are taken out
of the batch.

When it helps: easy tasks and mixed loads: most rows need few layers, at batch 1 and at batch 32 alike.
What it costs: training the heads, about a third of a fine-tuning; the heads' bytes; a slowest row as slow as before.
Comes after every step that trains. After compress/int8 it is calibrated to what is served; before it is possible too.

Shapes: E = exits, N = rows, C = outputs.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from burnish import models
from burnish.compress._exits import Exits, attach, detach, segments
from burnish.compress._lesson import distance
from burnish.compress._wishes import Usual
from burnish.core import Rng, Task, Work, desk, name_of
from burnish.data.family import parted
from burnish.errors import UsageError, problem
from burnish.measure.exits import Proof, Rule, calibrate, rows_needed, rules
from burnish.models import add_structure, family
from burnish.train.batches import collate, exact_batches
from burnish.train.evaluate import evaluating, model_outputs, pad_id_of
from burnish.train.loop import Data, train
from burnish.train.prepare import bounded, encode_work, one_answer_a_row, settings_for
from burnish.train.scale import fit_scale
from burnish.train.tweak import Batch, Loss, Tweak, inputs_of
from burnish.words import say

__all__ = ["EarlyExit"]

STYLES = ("fastbert", "deebert", "pabee")
HEADS_RATE = 10.0  # fresh heads on frozen layers learn faster than tuned weights may
HELD = 10  # one training row in so many chooses the epoch


@dataclass(frozen=True)
class EarlyExit:
    style: Literal["fastbert", "deebert", "pabee"] = "fastbert"  # who teaches the heads, and when a row leaves
    layers: tuple[int, ...] = ()  # exits after these layers, counted from 1; none given: after all but the last
    agree: float = 0.99  # share of rows that must keep the full model's answer
    confidence: float = 0.95  # of that share
    tolerance: float = 0.1  # for numbers: what counts as the same, in standard deviations of the targets
    lr: float | None = None  # None: 10 times the usual for heads alone, the usual for pabee
    epochs: int | None = None
    batch_size: int | None = None
    max_length: int | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, value, good, expected in (
            ("style", self.style, self.style in STYLES, ", ".join(STYLES)),
            ("agree", self.agree, 0 < self.agree < 1, say("a share between 0 and 1")),
            ("confidence", self.confidence, 0 < self.confidence < 1, say("a share between 0 and 1")),
            ("tolerance", self.tolerance, self.tolerance > 0, say("above 0")),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, f"compress/early_exit:{name}=..."))

    def __call__(self, work: Work, rng: Rng) -> Work:
        one_answer_a_row(work.task, name_of(self))
        layers = _checked(work.model, self.layers, self.style)
        tweak = Branches(self.style, work.task.objective)
        wishes = Usual(self.lr, self.epochs, self.batch_size, (tweak,), self.max_length, self.precision)
        settings, max_length, reasons = settings_for(work, wishes)
        seed = rng.getrandbits(31)
        learn, held = encode_work(_held_back(work, seed), max_length)
        never = Rule(_kind(self.style, work.task), 0.0, work.task.objective)
        model = copy.deepcopy(work.model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            exits = attach(model, layers, never, work.task.width)
        exits.mode = "average"
        pad_id = pad_id_of(work.tokenizer)
        trained = train(model, work.task, learn, held, settings, seed=seed, pad_id=pad_id, tweaks=(tweak,))
        made = replace(work, model=trained.model, tokenizer=bounded(work.tokenizer, max_length))
        _to_data_units(made.model.exits, *_scale(work.task, learn))
        proof, found = self._calibrated(made, max_length)
        facts = {"layers": list(layers), "outputs": work.task.width, "rule": proof.rule.to_json()}
        add_structure(made.model, "compress/early_exit", facts)
        notes = {**trained.notes, **found, "reasons": [*reasons, *_told(proof, self.confidence)]}
        return replace(made, notes={**notes, "max_length": max_length, "exits_after": list(layers)})

    def _calibrated(self, work: Work, max_length: int) -> tuple[Proof, dict[str, Any]]:
        """Set the rule of the model's exits, in place; what the validation rows say about it."""
        desk().report(say("calibrating the exits"), 1.0, {})
        _, valid = encode_work(replace(work, train=()), max_length)
        model, exits, pad_id = work.model, work.model.exits, pad_id_of(work.tokenizer)
        said_ENC, final_NC = _heard(model, valid, pad_id)
        unit = float(valid.targets.std()) if work.task.objective == "mean_squared_error" else 1.0
        exits.mode, tried = "leave", rules(exits.rule.kind, exits.rule.objective, len(exits.layers), unit or 1.0)
        same = _same(work.task, self.tolerance * (unit or 1.0))
        proof = calibrate(tried, exits.rule, said_ENC, final_NC, same, agree=self.agree, confidence=self.confidence)
        exits.rule, exits.left = proof.rule, [0] * (len(exits.layers) + 1)
        outputs_NC = model_outputs(model, valid.encoded, pad_id)
        ends = [*exits.layers, len(model.get_submodule(family(model).layers))]
        score = work.task.score
        return proof, {
            "left_after_layer": {str(layer): count for layer, count in zip(ends, exits.left, strict=True)},
            "mean_layers": float(np.dot(ends, exits.left) / max(1, sum(exits.left))),
            "agreement": float(same(final_NC, outputs_NC).mean()),
            "rule": proof.rule.to_json(),
            "proven": {"share": proof.bound, "confidence": self.confidence, "asked": self.agree, "rows": proof.rows},
            "valid": {"full": score(final_NC, valid.targets), "early": score(outputs_NC, valid.targets)},
        }


# -- learning ------------------------------------------------------------------------------------------


class Branches(Tweak):
    """Teach every head; the model below stays as it is, but for pabee."""

    def __init__(self, style: str, objective: str):
        self.style, self.objective = style, objective
        self.relative_rate = 1.0 if style == "pabee" else HEADS_RATE

    def prepare(self, model: nn.Module) -> nn.Module:
        if self.style != "pabee":
            model.requires_grad_(False)
            model.exits.requires_grad_(True)
        return model

    def loss(self, model: nn.Module, batch: Batch, inner: Loss) -> Tensor:
        exits, inputs = model.exits, inputs_of(batch)
        assert isinstance(exits, Exits)
        if self.style == "pabee":
            heard, final_BC = exits.hear(model, inputs)
            said = [*exits.outputs(heard, batch["attention_mask"]), final_BC]
            return joint([inner(Says(outputs_BC), batch) for outputs_BC in said])
        with torch.no_grad(), evaluating(model):  # what is frozen speaks as it will be heard: without dropout
            heard, final_BC = exits.hear(model, inputs)
        said = exits.outputs(heard, batch["attention_mask"])
        if self.style == "deebert":
            return torch.stack([inner(Says(outputs_BC), batch) for outputs_BC in said]).sum()
        final_BC = final_BC.float()
        return torch.stack(
            [distance(one.float(), final_BC, objective=self.objective, temperature=1.0) for one in said]
        ).sum()


class Says(nn.Module):
    """Stands in for a model whose outputs are known already."""

    def __init__(self, outputs_BC: Tensor):
        super().__init__()
        self.logits = outputs_BC

    def forward(self, **inputs: Tensor) -> "Says":
        return self


def joint(losses: Sequence[Tensor]) -> Tensor:
    """PABEE's weighted mean: the loss of exit j, counted from 1, counts j times."""
    weight = torch.arange(1, len(losses) + 1, device=losses[0].device, dtype=losses[0].dtype)
    return (torch.stack(list(losses)) * weight).sum() / weight.sum()


def _held_back(work: Work, seed: int) -> Work:
    """The training rows in two parts: those to learn from, and as `valid` those that choose the epoch.

    Rows made from others stay with their original, and choose nothing.
    """
    rows, made = parted(work.train)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    held = [rows[i] for i in order[: max(1, len(order) // HELD)]]
    away = {row.id for row in held}
    children = [row for row in made if row.parent not in away]
    return replace(work, train=[*(rows[i] for i in order[len(held) :]), *children], valid=held)


def _scale(task: Task, learn: Data) -> tuple[float, float]:
    scale = fit_scale(task, learn.targets)
    return scale.mean, scale.std


def _to_data_units(exits: Any, mean: float, std: float) -> None:
    """The loop gives the model's own head the units of the data back; these are ours to do, in place."""
    with torch.no_grad():
        for head in exits.heads:
            head.out.weight.mul_(std)
            head.out.bias.mul_(std).add_(mean)


# -- calibrating ---------------------------------------------------------------------------------------


def _heard(model: Any, data: Data, pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of every exit [E, N, C] and of the whole model [N, C], float32."""
    said: dict[int, np.ndarray] = {}
    exits, device = model.exits, next(iter(model.state_dict().values())).device
    with evaluating(model), torch.inference_mode():
        for rows in exact_batches(data.lengths, 32):
            inputs = {k: v.to(device) for k, v in collate([data.encoded[i] for i in rows], pad_id).items()}
            heard, final_BC = exits.hear(model, inputs)
            every = torch.stack([*exits.outputs(heard, inputs["attention_mask"]), final_BC], 1)
            said.update(zip(rows.tolist(), every.float().cpu().numpy(), strict=True))
    whole_NEC = np.stack([said[i] for i in range(len(data.encoded))])
    return whole_NEC[:, :-1].transpose(1, 0, 2), whole_NEC[:, -1]


def _same(task: Task, tolerance: float) -> Any:
    """bool [N]: is an answer the full model's? For numbers, within `tolerance`."""
    if task.objective == "mean_squared_error":
        return lambda a_NC, b_NC: np.abs(a_NC - b_NC).max(1) <= tolerance
    return lambda a_NC, b_NC: ~task.flips(a_NC, b_NC)


def _kind(style: str, task: Task) -> str:
    if task.objective == "mean_squared_error":
        return "difference"
    return "patience" if style == "pabee" else "entropy"


def _told(proof: Proof, confidence: float) -> list[str]:
    if proof.bound >= proof.asked:
        return []
    needed = rows_needed(proof.asked, confidence)
    text = "{rows} validation rows prove an agreement of {bound:.3f}, not {asked}: that takes {needed} or more"
    return [say(text, rows=proof.rows, bound=proof.bound, asked=proof.asked, needed=needed)]


# -- the structure -------------------------------------------------------------------------------------


def _checked(model: Any, layers: Sequence[int], style: str) -> tuple[int, ...]:
    total = len(model.get_submodule(family(model).layers))
    chosen = tuple(layers) or tuple(range(1, total))
    refused = (
        (hasattr(model, "exits"), say("this model has early exits already"), say("one compress/early_exit")),
        (
            not chosen or list(chosen) != sorted(set(chosen)) or not 1 <= chosen[0] <= chosen[-1] < total,
            say("exits after layers {layers} of {total}", layers=list(chosen), total=total),
            say("rising numbers from 1, the last one below {total}", total=total),
        ),
        (
            style == "pabee" and models.precision(model) != "fp32",
            say("style=pabee trains all weights, and those of this model are integers"),
            say("a float model"),
        ),
        (
            bool(getattr(model.config, "conv_kernel_size", 0)),
            say("this model has a convolution beside its first layer"),
            say("a model whose layers follow each other"),
        ),
    )
    for wrong, given, expected in refused:
        if wrong:
            raise UsageError(problem(given, expected, say("compress/early_exit:style=fastbert, before compress/int8")))
    return chosen


def restore(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Give a freshly built model its exits, in place; the heads' weights are loaded after."""
    attach(model, facts["layers"], Rule.from_json(facts["rule"]), int(facts["outputs"]))


def to_float(model: nn.Module, facts: Mapping[str, Any]) -> None:
    """Take the exits away, in place: the full model is left."""
    detach(model)


def SEGMENTS(model: Any, inputs: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """What an engine runs in turn, and the rule between."""
    return list(segments(model, inputs)), model.exits.rule.to_json()
