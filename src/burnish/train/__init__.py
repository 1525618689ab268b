"""The training loop that every learning technique shares, and the seams it offers.

It sits below `tune` and `compress`, because both learn: fine-tuning, distillation into a smaller model,
quantization-aware training and movement pruning are the same loop with other tweaks.
"""
