"""What a training run will need in memory: as it is set, and with each choice that would make it less."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from burnish.measure import memory
from burnish.train.depth import depths
from burnish.train.parts import Group, Optimizer, Rates
from burnish.train.tweak import Tweak
from burnish.words import say

if TYPE_CHECKING:  # the loop itself writes down what was used
    from burnish.train.given import Settings

__all__ = ["in_words", "memory_notes", "needed", "reason", "state_bytes"]

# The model as it came, kept so that a step never changes its input, and the best weights so far.
COPIES = 2.0


def reason(model: nn.Module, settings: "Settings", length: int, tweaks: Sequence[Tweak]) -> tuple[int, str]:
    """The forecast in bytes, 0 where it is not known, and a sentence with that of each smaller choice."""
    device = next(model.parameters()).device
    if device.type != "cpu":
        return 0, say("memory: no forecast on {device}", device=device.type)
    now = needed(model, settings, length, tweaks)
    smaller = {name: size for name, size in _choices(model, settings, length, tweaks).items() if size < now}
    said = [say("about {size} as set", size=in_words(now))]
    said += [say("{size} with {name}", size=in_words(size), name=name) for name, size in smaller.items()]
    free = memory.available_bytes()
    if free is not None and now > free:
        said.append(say("only {size} are free here", size=in_words(free)))
    return now, say("memory: {said}", said=", ".join(said))


def _choices(model: nn.Module, s: "Settings", length: int, tweaks: Sequence[Tweak]) -> dict[str, int]:
    found = {}
    if not any(t.need.recomputes for t in tweaks):
        found["tune/checkpointing"] = needed(model, s, length, tweaks, checkpointing=True)
    if 2 * s.accumulate <= s.batch_size:
        cut = dataclasses.replace(s, accumulate=2 * s.accumulate)
        found[f"accumulate={cut.accumulate}"] = needed(model, cut, length, tweaks)
    if s.precision == "fp32":
        found["precision=bf16"] = needed(model, dataclasses.replace(s, precision="bf16"), length, tweaks)
    return found


def needed(
    model: Any, settings: "Settings", length: int, tweaks: Sequence[Tweak], *, checkpointing: bool = False
) -> int:
    """Peak bytes of this process while it trains `model` with these settings, rows of `length` tokens."""
    config = model.config
    needs = [t.need for t in tweaks]
    parameters = sum(p.numel() for p in model.parameters())
    trainable = float(_trainable(model, settings.rates))
    rows = float(settings.batch_size)
    for need in needs:
        trainable, rows = trainable * need.trains, rows * need.rows
    return memory.forecast(
        parameters,
        batch=round(rows),
        length=length,
        layers=getattr(config, "num_hidden_layers", 12),
        hidden=getattr(config, "hidden_size", 768),
        heads=getattr(config, "num_attention_heads", 12),
        intermediate=getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", None),
        precision=settings.precision,
        trainable=round(trainable),
        copies=COPIES + sum(need.copies for need in needs),
        accumulate=settings.accumulate or 1,  # 0 is found by trying, later
        checkpointing=checkpointing or any(need.recomputes for need in needs),
        state=state_bytes(settings.optimizer),
    )


def _trainable(model: nn.Module, rates: Sequence[Rates]) -> int:
    """How many weights get a gradient; those with rate 0 do not."""
    depth, layers = depths(model) if rates else ({}, 0)
    return sum(
        p.numel()
        for name, p in model.named_parameters()
        if p.requires_grad and all(one.scale(name, depth[name], layers) for one in rates)
    )


def state_bytes(optimizer: Optimizer) -> float:
    """What the optimizer remembers for each weight of a matrix inside a layer, in bytes; found by trying it on one."""
    side = 128
    weight = nn.Parameter(torch.ones(side, side))
    weight.grad = torch.ones_like(weight)
    with torch.random.fork_rng(devices=[]):
        made = optimizer.make([Group(("encoder.layer.0.weight",), (weight,), 1.0, 0.0)], 1e-3)
        getattr(made, "train", lambda: None)()
        made.step()
    kept = [v for slots in made.state.values() for v in slots.values() if torch.is_tensor(v)]
    return sum(v.numel() * v.element_size() for v in kept) / weight.numel()


def memory_notes(device: torch.device, forecast: int) -> dict[str, Any]:
    """What was used at most: of this process on a CPU, where it never falls again, of torch's tensors on a GPU."""
    used = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else memory.peak_rss_bytes()
    notes: dict[str, Any] = {"peak_memory_bytes": used}
    if not forecast:
        return {**notes, "memory": say("memory: used {used}", used=in_words(used))}
    told = say("memory: forecast {forecast}, used {used}", forecast=in_words(forecast), used=in_words(used))
    return {**notes, "memory_forecast_bytes": forecast, "memory": told}


def in_words(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
