"""LoRA: freeze the encoder and learn a low-rank correction B A beside each of its linear layers.

Paper: Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: Low-Rank Adaptation of Large Language Models",
ICLR 2022, arXiv:2106.09685. variant=dora: Liu, Wang, Yin, Molchanov, Wang, Cheng, Chen, "DoRA: Weight-Decomposed
Low-Rank Adaptation", ICML 2024, arXiv:2402.09353. variant=rslora: Kalajdzievski, "A Rank Stabilization Scaling Factor
for Fine-Tuning with LoRA", 2023, arXiv:2312.03732. The layers are those of the peft package.
Differs from them: every linear layer of the encoder has one, not queries and values alone; the head is trained whole.

    y = W x + s B A x      s = alpha / rank;  alpha / sqrt(rank) with rslora
    dora: the rows of W + s B A are brought to a length that is learned as well

When it helps: large encoders in little memory, since optimizer state is kept for the adapter and the head only; many
tasks on one encoder, with merge=false. It needs about 10 times the rate of full tuning, which `lr` unset gives it.
What it costs: an epoch takes about as long as full tuning on a CPU, dora longer; it learns less than full tuning on
many rows or with large batches. Nothing afterwards: it is merged, and the model is a plain one with plain speed.
"""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from burnish.errors import UsageError, problem
from burnish.train.adapter import Adapter, encoder_linears, head_parts, need_peft
from burnish.train.parts import Facts
from burnish.train.tweak import Need, Tweak
from burnish.words import say

__all__ = ["LoRA"]


@dataclass(frozen=True)
class LoRA(Tweak):
    rank: int = 16  # r, columns of B and rows of A
    alpha: float = 32.0  # of the factor s on B A
    dropout: float = 0.0  # on what goes into A, 0..1
    targets: tuple[str, ...] = ()  # endings of names, such as query,value; none: the encoder's linear layers
    variant: Literal["lora", "dora", "rslora"] = "lora"
    merge: bool = True  # false: the adapter is also kept by itself, in peft's form, in the step's folder

    relative_rate = 10.0
    need = Need(trains=0.02)  # rank 16 on an encoder of the usual width

    def __post_init__(self) -> None:
        need_peft("tune/lora")
        for name, value, good, expected in (
            ("rank", self.rank, self.rank >= 1, "1 or more"),
            ("alpha", self.alpha, self.alpha > 0, "above 0"),
            ("dropout", self.dropout, 0 <= self.dropout < 1, "0 or more, below 1"),
            ("variant", self.variant, self.variant in ("lora", "dora", "rslora"), "lora, dora, rslora"),
        ):
            if not good:
                given = say("{name} {value}", name=name, value=value)
                raise UsageError(problem(given, expected, "--with tune/lora:rank=16,alpha=32"))

    def begin(self, facts: Facts) -> Tweak:
        return Adapter(self.configure, facts, keep=not self.merge)

    def configure(self, model: nn.Module) -> Any:
        """peft's configuration for this model."""
        from peft import LoraConfig

        return LoraConfig(
            task_type="SEQ_CLS",
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=encoder_linears(model, self.targets),
            modules_to_save=head_parts(model),
            use_dora=self.variant == "dora",
            use_rslora=self.variant == "rslora",
        )
