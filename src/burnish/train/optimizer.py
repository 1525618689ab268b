"""AdamW, with weight decay on matrices only.

Paper: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101.
Bias correction stays on, without which small data sets fail to train (Mosbach et al. 2021, arXiv:2006.04884).
"""

import torch
from torch import nn

__all__ = ["adamw", "decays"]


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Biases and the gains of norms are vectors; pulling them toward zero helps nothing."""
    return parameter.ndim >= 2


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """torch's AdamW over the trainable parameters, in its fused form, which is the faster one here."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in named if decays(n, p)], "weight_decay": weight_decay},
        {"params": [p for n, p in named if not decays(n, p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=True)
