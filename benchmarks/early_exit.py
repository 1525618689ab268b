"""Early exit beside the full model: milliseconds a row at batch 1 and 32, agreement and accuracy, by threshold.

    python benchmarks/early_exit.py DATA MODEL [--style fastbert] [--rows 2000] [--points 6] [--threads 1] [--json FILE]

MODEL is a folder that burnish saved, or any model, which is then tuned first (--epochs). Exits are calibrated for
--agree on the validation rows; then the threshold runs over a curve, and every point is measured on the test rows:
torch at batch 1 and at batch 32 (sorted by length, rows that leave are taken out), ONNX at batch 1. The full model is
measured the same way in the same run, in turns with the others, so that a slow minute hits all alike.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from random import Random

import numpy as np

TIMES = ("torch_1_ms", "torch_32_ms", "onnx_1_ms")


def prepared(args):
    """A tuned work, and the test rows."""
    from burnish import models
    from burnish.core import Work
    from burnish.plan.ground import load_rows
    from burnish.plan.request import Request
    from burnish.tune.finetune import FineTune

    found = load_rows(Request(data=args.data, model=""))
    train = list(found.splits.train)
    Random(0).shuffle(train)
    rows = train[: args.rows], list(found.splits.valid), list(found.splits.test)
    saved = Path(args.model) / "model.safetensors"
    if saved.is_file() and not args.tune:
        model, tokenizer = models.load_saved(Path(args.model))
        return Work(model, tokenizer, found.task, *rows[:2]), rows[2]
    model, tokenizer = models.load(args.model, found.task, seed=0)
    work = Work(model, tokenizer, found.task, *rows[:2])
    return FineTune(epochs=args.epochs, max_length=args.max_length)(work, Random(0)), rows[2]


def torch_run(model, encoded, pad_id, size) -> tuple[np.ndarray, float]:
    """Outputs [N, C] and milliseconds a row; batches of like length, as a server would make them."""
    import torch

    from burnish.train.batches import collate

    order = np.argsort([-len(row["input_ids"]) for row in encoded], kind="stable")
    batches = [collate([encoded[i] for i in order[at : at + size]], pad_id) for at in range(0, len(order), size)]
    with torch.inference_mode():
        model(**batches[0])
        start = time.perf_counter()
        outputs = [model(**batch).logits for batch in batches]
        seconds = time.perf_counter() - start
    found = np.zeros((len(encoded), outputs[0].shape[1]), dtype=np.float32)
    found[order] = torch.cat(outputs).numpy()
    return found, 1000 * seconds / len(encoded)


def onnx_run(predictor, encoded) -> float:
    rows = [
        {**{k: np.array([v]) for k, v in row.items()}, "attention_mask": np.ones((1, len(row["input_ids"])), np.int64)}
        for row in encoded
    ]
    predictor(rows[0])
    start = time.perf_counter()
    for row in rows:
        predictor(row)
    return 1000 * (time.perf_counter() - start) / len(rows)


def curve(work, points):
    """Rules from 'nobody leaves' to 'everybody may', the calibrated one among them."""
    from burnish.measure.exits import Rule

    own = work.model.exits.rule
    if own.kind == "patience":
        spread = [float(t) for t in range(len(work.model.exits.layers) - 1, 0, -1)]
    else:
        top = 1.0 if own.kind == "entropy" else max(own.threshold * 8, 1e-3)
        spread = np.geomspace(top / 500, top, points).tolist()
    return [Rule(own.kind, t, own.objective) for t in sorted({*spread, own.threshold}, reverse=own.kind == "patience")]


def measured(args) -> dict:
    import torch

    from burnish import models
    from burnish.compress.early_exit import EarlyExit
    from burnish.serve.engines import engine
    from burnish.train.batches import encode
    from burnish.train.evaluate import pad_id_of

    torch.set_num_threads(args.threads)
    work, test = prepared(args)
    test = test[: args.test]
    made = EarlyExit(style=args.style, agree=args.agree, epochs=args.exit_epochs)(work, Random(0))
    encoded = encode(made.tokenizer, test, made.tokenizer.model_max_length)
    targets, pad_id = made.task.encode(test), pad_id_of(made.tokenizer)
    full_model = models.as_float(made.model)  # for pabee too this is what the exits agree with
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        places = {}
        for name, model in (("full", full_model), ("early", made.model)):
            place = Path(folder, name)
            place.mkdir()
            build = engine("onnx").build
            build(model, made.tokenizer, place, precision="fp32", max_length=made.tokenizer.model_max_length)
            places[name] = place
        reference, _ = torch_run(full_model, encoded, pad_id, 32)
        rules = [None, *curve(made, args.points)]
        runs: list[list[dict]] = [[] for _ in rules]
        for _ in range(args.rounds):
            for rule, own in zip(rules, runs, strict=True):
                own.append(point(made, full_model, rule, encoded, pad_id, places, args.threads))
    for rule, own in zip(rules, runs, strict=True):
        outputs = own[0]["outputs"]
        times = {k: statistics.median(run[k] for run in own) for k in TIMES}
        scores = {
            "score": made.task.score(outputs, targets),
            "agreement": float((~made.task.flips(reference, outputs)).mean()),
        }
        about = {"rule": None if rule is None else rule.to_json(), "calibrated": rule == made.model.exits.rule}
        lines.append({**about, **times, **scores, "left": own[0]["left"]})
    return {"settings": vars(args), "notes": {k: v for k, v in made.notes.items() if k != "curve"}, "points": lines}


def point(made, full_model, rule, encoded, pad_id, places, threads) -> dict:
    """One measurement of one rule; of the full model where `rule` is None."""
    from burnish.runs import read_json, write_json
    from burnish.serve.engines import engine

    exits, own = made.model.exits, made.model.exits.rule
    place = places["full" if rule is None else "early"]
    if rule is not None:
        exits.rule = rule
        facts = read_json(place / "segments.json")
        write_json(place / "segments.json", {**facts, "rule": rule.to_json()})
    model = full_model if rule is None else made.model
    exits.left = [0] * len(exits.left)
    outputs, batched = torch_run(model, encoded, pad_id, 32)
    left = list(exits.left) if rule is not None else []
    _, single = torch_run(model, encoded, pad_id, 1)
    exits.rule = own
    served = onnx_run(engine("onnx").load(place, threads=threads), encoded)
    return {"outputs": outputs, "left": left, "torch_1_ms": single, "torch_32_ms": batched, "onnx_1_ms": served}


def table(found) -> str:
    head = f"{'threshold':>10} {'torch 1':>9} {'torch 32':>9} {'onnx 1':>9} {'x 1':>5} {'x 32':>5} {'x onnx':>6}"
    lines = [f"{head} {'score':>7} {'agree':>7}  left after each exit (milliseconds a row)"]
    full = found["points"][0]
    for p in found["points"]:
        name = "full" if p["rule"] is None else f"{p['rule']['threshold']:.4g}" + ("*" if p["calibrated"] else "")
        times = " ".join(f"{p[k]:9.2f}" for k in TIMES)
        gains = " ".join(f"{full[k] / p[k]:{width}.2f}" for k, width in zip(TIMES, (5, 5, 6), strict=True))
        lines.append(f"{name:>10} {times} {gains} {p['score']:7.4f} {p['agreement']:7.4f}  {p['left']}")
    proven = found["notes"]["proven"]
    text = "* calibrated on {rows} validation rows: {share:.4f} or more agree (asked {asked}, confidence {confidence})"
    lines.append(text.format(**proven))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--style", default="fastbert", choices=("fastbert", "deebert", "pabee"))
    parser.add_argument("--agree", type=float, default=0.98)
    parser.add_argument("--rows", type=int, default=10**9)
    parser.add_argument("--test", type=int, default=10**9)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--exit-epochs", type=int, default=None)
    parser.add_argument("--max-length", type=int, default=None)
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tune", action="store_true", help="tune MODEL first, although burnish saved it")
    parser.add_argument("--json", default="early_exit.json")
    args = parser.parse_args()
    found = measured(args)
    Path(args.json).write_text(json.dumps(found, indent=1, default=str) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
