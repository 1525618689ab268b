"""A model in segments, run one after the other: a row that may leave is not computed any further.

Knows no runtime: an engine gives a function for each segment. numpy only, since the server imports it.

Shapes: N = rows, C = outputs.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from burnish.core import Predictor
from burnish.measure.exits import Rule

__all__ = ["HIDDEN", "Call", "chain"]

HIDDEN = "hidden"  # the input through which a segment gets what the one before it made

# Inputs by name -> outputs [N, C], and but for the last segment the hidden states as well.
Call = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


def chain(calls: Sequence[Call], rule: Rule) -> Predictor:
    def predict(batch: Mapping[str, np.ndarray]) -> np.ndarray:
        here_n = np.arange(len(batch["input_ids"]))
        said: list[np.ndarray] = []  # [n, C] by exit, of the rows still here
        found: dict[int, np.ndarray] = {}
        for number, call in enumerate(calls, 1):
            outputs_nC, *hidden = call(batch)
            last = number == len(calls)
            said.append(outputs_nC)
            leaves_n = np.full(len(here_n), True) if last else rule.leaves(said)
            found.update(zip(here_n[leaves_n].tolist(), outputs_nC[leaves_n], strict=True))
            if leaves_n.all():
                break
            # A lone row that stays needs no copy.
            if leaves_n.any():
                here_n, said = here_n[~leaves_n], [outputs[~leaves_n] for outputs in said]
                batch, hidden = {name: value[~leaves_n] for name, value in batch.items()}, [hidden[0][~leaves_n]]
            batch = {**batch, HIDDEN: hidden[0]}
        return np.stack([found[n] for n in range(len(found))]).astype(np.float32)

    return predict
