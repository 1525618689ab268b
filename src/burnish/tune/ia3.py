"""IA3: freeze the encoder and learn one factor for each key, each value and each hidden unit of the feed-forward part.

Paper: Liu, Tam, Muqeeth, Mohta, Huang, Bansal, Raffel, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper
than In-Context Learning", NeurIPS 2022, arXiv:2205.05638. The layers are those of the peft package.
Differs from it: the task's own loss instead of its three losses for generators; the head is trained whole; where one
layer gives queries, keys and values (ModernBERT), queries have factors too.

    k' = l_k * k      v' = l_v * v      feed-forward: W2 (l_f * act(W1 x))      all l start at 1

When it helps: least of all to store, a tenth of tune/lora; many tasks on one encoder, with merge=false.
What it costs: it can express less than tune/lora, and needs a higher rate still, about 100 times that of full tuning,
which `lr` unset gives it. Nothing afterwards: the factors are multiplied into the weights of a plain model.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from burnish.errors import UsageError, problem
from burnish.train.adapter import Adapter, encoder_linears, head_parts, need_peft
from burnish.train.parts import Facts
from burnish.train.tweak import Need, Tweak
from burnish.words import say

__all__ = ["IA3", "scaled_layers"]

# Endings of layer names over all families: what gives keys and values, and what reads the hidden units.
ATTENTION = ("key", "value", "k_lin", "v_lin", "key_proj", "value_proj", "attn.k", "attn.v", "attn.Wqkv")
FEED_FORWARD = ("output.dense", "ffn.lin2", "mlp.Wo")
NOT_FEED_FORWARD = "attention.output.dense"


@dataclass(frozen=True)
class IA3(Tweak):
    merge: bool = True  # false: the adapter is also kept by itself, in peft's form, in the step's folder

    need = Need(trains=0.001)
    relative_rate = 100.0  # on MiniLM and TREC; at a third of it the factors hardly move

    def __post_init__(self) -> None:
        need_peft("tune/ia3")

    def begin(self, facts: Facts) -> Tweak:
        return Adapter(self.configure, facts, keep=not self.merge)

    def configure(self, model: nn.Module) -> Any:
        """peft's configuration for this model."""
        from peft import IA3Config

        attention, feed_forward = scaled_layers(model)
        return IA3Config(
            task_type="SEQ_CLS",
            target_modules=[*attention, *feed_forward],
            feedforward_modules=feed_forward,
            modules_to_save=head_parts(model),
        )


def scaled_layers(model: nn.Module) -> tuple[list[str], list[str]]:
    """Names of the layers whose outputs are scaled, and of those whose inputs are.

    Raises UsageError for an encoder in which they cannot be told.
    """
    names = encoder_linears(model)
    attention = [n for n in names if n.endswith(tuple(f".{e}" for e in ATTENTION))]
    feed_forward = [n for n in names if n.endswith(tuple(f".{e}" for e in FEED_FORWARD)) and NOT_FEED_FORWARD not in n]
    if not attention or not feed_forward:
        given = say("the keys and values of {kind} are not known", kind=type(model).__name__)
        raise UsageError(problem(given, say("BERT and its like"), "tune/lora"))
    return attention, feed_forward
