"""Weight-only quantization of one tuned encoder, burnish's and ONNX Runtime's own, on the same rows and settings.

    python benchmarks/gptq_encoders.py MODEL [--rows 128] [--bits 4 3 2] [--groups 64 0] [--test] [--out FILE.json]

MODEL is a folder that `burnish.models.save` wrote, with train.jsonl, valid.jsonl (test.jsonl) as
`burnish.runs.write_rows` writes rows, and task.json. All methods round the linear layers of the encoder layers and
nothing else, to an asymmetric grid unless they say so; activations stay float. The error of a layer is
‖x (w - q)ᵀ‖² / ‖x wᵀ‖² on the inputs x that the float model has on the calibration rows (the table has the geometric
mean over layers, and the worst); the score is that of the float model with these weights, on validation rows or with
--test on test rows.

    rounding, gptq, awq   burnish's steps; gptq and awq solve layers on what the quantized ones before them give
    ... on float inputs   its solver alone, on the inputs that the rivals get too
    ort gptq              onnxruntime.quantization's GPTQ (neural_compressor.weight_only.gptq): its defaults, and with
                          mse (its grid search), and by rows with actorder too (its order is not stored in groups)
    ... repaired          the same with its factor transposed: as it is, no error ever reaches a later column (version
                          1.32), so that what it calls GPTQ is plain rounding
    ort hqq               onnxruntime.quantization's HQQ, without data

ONNX Runtime's quantizer writes GPTQ for 4 bits only, and rounds a second time where it packs; here its weights are
taken before that. --rows are drawn with --seed from the training rows.
"""

import argparse
import contextlib
import copy
import io
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """The float model, its layers' weights [N, K] and Hessians [K, K], and the rows that score it."""

    work: Any
    rows: list[Any]
    weights: Weights
    hessians: Weights

    def errors(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        from burnish.compress._weights import relative_error

        return {n: relative_error(w, found[n].double(), self.hessians[n]) for n, w in self.weights.items()}

    def score(self, found: Mapping[str, Tensor]) -> float:
        from burnish.train.evaluate import outputs_of_rows

        model = copy.deepcopy(self.work.model)
        for name, w_NK in found.items():
            model.get_submodule(name).weight.data = w_NK.float()
        length = self.work.tokenizer.model_max_length
        outputs_NC = outputs_of_rows(model, self.work.tokenizer, self.rows, length)
        return float(self.work.task.score(outputs_NC, self.work.task.encode(self.rows)))


def load(args: argparse.Namespace) -> Case:
    from burnish import models, runs, tasks
    from burnish.compress._hessian import calibration, sweep
    from burnish.core import Work

    model, tokenizer = models.load_saved(args.model)
    task = tasks.from_json(json.loads((args.model / "task.json").read_text()))
    train, valid = (runs.read_rows(args.model / f"{role}.jsonl") for role in ("train", "valid"))
    work = Work(model, tokenizer, task, train, valid)
    weights: Weights = {}
    hessians: Weights = {}

    def look(named: Mapping[str, Tensor], inputs: Any) -> dict[str, Any]:
        weights.update(named)
        hessians.update(dict.fromkeys(named, inputs.hessian_KK))
        return {}

    sweep(copy.deepcopy(model), calibration(work, args.rows, Random(args.seed)), look, 0)
    rows = runs.read_rows(args.model / "test.jsonl") if args.test else valid
    return Case(work, rows, weights, hessians)


# -- burnish -------------------------------------------------------------------------------------------


def stepped(name: str, **settings: Any) -> Callable[[Case, int, int, argparse.Namespace], Weights]:
    """A whole step of burnish's, and the float weights that its codes stand for."""

    def run(case: Case, bits: int, group: int, args: argparse.Namespace) -> Weights:
        from burnish import catalog, models

        rows = {} if name == "compress/round_weights" else {"rows": args.rows}
        only = {"symmetric": False, "rest": 0, "embeddings": 0, "activations": "float"}
        step = catalog.build(name, {"bits": bits, "group": group} | only | rows | settings)
        plain = models.as_float(step(replace(case.work, notes={}), Random(args.seed)).model)
        return {n: plain.get_submodule(n).weight.detach() for n in case.weights}

    return run


def gptq_alone(case: Case, bits: int, group: int, args: argparse.Namespace) -> Weights:
    from burnish.compress._codes import Grid, decode
    from burnish.compress.gptq import gptq

    found = {}
    for name, w_NK in case.weights.items():
        solved = gptq(w_NK, case.hessians[name], Grid(bits, group, False, 40), damp=0.01, order=True)
        assert solved is not None
        found[name] = decode(solved[0], group)
    return found


# -- ONNX Runtime --------------------------------------------------------------------------------------


def ort_gptq(best: bool, repaired: bool = False) -> Callable[[Case, int, int, argparse.Namespace], Weights]:
    """`repaired`: its factor is upper triangular and read by columns, whose entries below the diagonal are zeros; no
    error reaches a later column. Transposed, it computes the paper's Algorithm 1."""
    factor = np.linalg.cholesky

    def run(case: Case, bits: int, group: int, args: argparse.Namespace) -> Weights:
        from onnxruntime.quantization.neural_compressor.weight_only import gptq

        def layer(w_NK: Tensor, h_KK: Tensor) -> Tensor:
            w_KN, h = w_NK.T.float().numpy().copy(), h_KK.numpy().copy()
            order = best and group == 0
            with mock.patch("numpy.linalg.cholesky", lambda a: factor(a).T) if repaired else contextlib.nullcontext():
                q_KN = gptq(w_KN, h, bits, group or -1, "asym", 128, 0.01, order, best)
            return torch.from_numpy(np.ascontiguousarray(q_KN.T))

        return {name: layer(w, case.hessians[name]) for name, w in case.weights.items()}

    return run


def ort_hqq(case: Case, bits: int, group: int, args: argparse.Namespace) -> Weights:
    from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig, HQQWeightOnlyQuantizer

    tool = HQQWeightOnlyQuantizer(HQQWeightOnlyQuantConfig(bits=4))

    def layer(w_NK: Tensor) -> Tensor:
        size = group or w_NK.shape[1]
        codes, scale, zero = tool.quantize_internal(w_NK.float(), bits=bits, group_size=size)
        of_K = torch.arange(w_NK.shape[1]) // size
        return (codes[:, : w_NK.shape[1]] - zero[:, of_K]) * scale[:, of_K]

    return {name: layer(w) for name, w in case.weights.items()}


METHODS: dict[str, Callable[[Case, int, int, argparse.Namespace], Weights]] = {
    "rounding, no search": stepped("compress/round_weights", search=False),
    "rounding": stepped("compress/round_weights"),
    "awq": stepped("compress/awq"),
    "gptq": stepped("compress/gptq"),
    "gptq symmetric": stepped("compress/gptq", symmetric=True),
    "gptq on float inputs": gptq_alone,
    "ort gptq": ort_gptq(False),
    "ort gptq mse": ort_gptq(True),
    "ort gptq repaired": ort_gptq(False, True),
    "ort gptq repaired mse": ort_gptq(True, True),
    "ort hqq": ort_hqq,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 3, 2])
    parser.add_argument("--groups", type=int, nargs="+", default=[64, 0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    case = load(args)
    lines: list[dict[str, Any]] = []
    print(f"{len(case.rows)} rows score {case.score({}):.4f} in float; {args.rows} rows to calibrate with")
    head = (
        f"{'bits':>4} {'group':>5} {'method':<22} {'error':>8} {'worst':>8} {'below first':>14} {'score':>7} {'s':>6}"
    )
    print(head)
    for bits in args.bits:
        for group in args.groups:
            lines += setting(case, bits, group, args)
            if args.out:
                args.out.write_text(json.dumps({"float": case.score({}), "lines": lines}, indent=1))


def setting(case: Case, bits: int, group: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every method at one width; prints a line for each."""
    lines = []
    rounded: dict[str, float] = {}
    for name in args.methods:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            found = METHODS[name](case, bits, group, args)
        seconds = time.perf_counter() - start
        errors = case.errors(found)
        rounded = rounded or errors
        line = {
            "bits": bits,
            "group": group,
            "method": name,
            "error": math.exp(sum(math.log(e) for e in errors.values()) / len(errors)),  # geometric mean
            "worst": max(errors.values()),
            "layers": len(errors),
            "below_first": sum(e < rounded[n] for n, e in errors.items()),
            "score": case.score(found),
            "seconds": round(seconds, 1),
            "errors": errors,
        }
        lines.append(line)
        print(
            f"{bits:>4} {group:>5} {name:<22} {line['error']:>8.5f} {line['worst']:>8.5f} "
            f"{line['below_first']:>11}/{len(errors)} {line['score']:>7.4f} {seconds:>6.1f}",
            flush=True,
        )
    return lines


if __name__ == "__main__":
    main()
