"""Rows a second of masked-LM substitution: burnish's batches beside its own loops and nlpaug, on the same model.

    python benchmarks/augment_mlm.py DATA.csv TOKENIZER [--rows 400] [--rounds 3] [--nlpaug PYTHON]

DATA has a column `text`; TOKENIZER is a folder with a BERT tokenizer. The model has random weights (4 layers, 256
wide): what words it finds does not change how long it takes. Contenders, 15 % of the words of each row, one thread:

    batched     burnish, 64 rows in one pass
    by row      burnish, one row in one pass
    by word     a plain loop: one pass of the whole model for each word that gives way
    nlpaug      ContextualWordEmbsAug, given all rows in one list, batches of 64; PYTHON is that of an environment with
                nlpaug 1.1.11 and a transformers that it can read (4.49)

Each is a process of its own, in turns, so that a slow minute of the machine hits all alike; loading is not counted.
Prints a table and writes augment_mlm.json.
"""

import argparse
import csv
import difflib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS = ("batched", "by row", "by word")


def make_model(tokenizer: str, folder: str) -> None:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    kept = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    BertForMaskedLM(BertConfig(vocab_size=len(kept), **shape)).save_pretrained(folder)
    kept.save_pretrained(folder)


def texts_of(path: str, count: int) -> list[str]:
    with open(path, encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    return random.Random(0).sample([text for text in texts if len(text.split()) >= 4], count)


def run_ours(name: str, folder: str, texts: list[str]) -> tuple[float, int]:
    from burnish.augment.masked_lm import MaskedLM
    from burnish.core import Row

    rows = [Row(f"data:{i}", text, target="a") for i, text in enumerate(texts)]
    step = MaskedLM(folder)
    rngs = [random.Random(row.id) for row in rows]
    step.edits(rows[0], random.Random(0))  # loads the model
    start = time.perf_counter()
    if name == "batched":
        edits = [
            made for at in range(0, len(rows), 512) for made in step.edits_of(rows[at : at + 512], rngs[at : at + 512])
        ]
    elif name == "by row":
        edits = [step.edits(row, rng) for row, rng in zip(rows, rngs, strict=True)]
    else:
        return by_word(folder, rows, rngs)
    return time.perf_counter() - start, sum(map(len, edits))


def by_word(folder: str, rows, rngs) -> tuple[float, int]:
    """What a first version looks like: mask a word, run the model, take one of its ten likeliest words, go on."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from burnish.augment.masked_lm import MaskedLM

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForMaskedLM.from_pretrained(folder).eval()
    step, words = MaskedLM(folder), 0
    start = time.perf_counter()
    for row, rng in zip(rows, rngs, strict=True):
        for begin, end in reversed(step._gaps(row, rng).words):
            masked = f"{row.text[:begin]}{tokenizer.mask_token}{row.text[end:]}"
            found = tokenizer(masked, return_tensors="pt", truncation=True)
            with torch.inference_mode():
                logits = model(**found).logits
            place = (found["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0, 0]
            best = logits[0, place].topk(10)
            tokenizer.decode(rng.choices(best.indices.tolist(), best.values.softmax(0).tolist()))
            words += 1
    return time.perf_counter() - start, words


def run_nlpaug(folder: str, texts: list[str]) -> tuple[float, int]:
    import nlpaug.augmenter.word as naw

    augmenter = naw.ContextualWordEmbsAug(
        model_path=folder, model_type="bert", action="substitute", aug_p=0.15, aug_max=None, top_k=10, batch_size=64
    )
    augmenter.augment(texts[:2])
    start = time.perf_counter()
    made = augmenter.augment(texts)
    seconds = time.perf_counter() - start
    pairs = [(old.lower().split(), new.lower().split()) for old, new in zip(texts, made, strict=True)]
    steps = [step for pair in pairs for step in difflib.SequenceMatcher(None, *pair, autojunk=False).get_opcodes()]
    changed = sum(end - begin for kind, begin, end, _, _ in steps if kind != "equal")
    return seconds, changed


def one(args) -> None:
    import torch

    torch.set_num_threads(1)
    texts = texts_of(args.data, args.rows)
    seconds, words = run_nlpaug(args.folder, texts) if args.one == "nlpaug" else run_ours(args.one, args.folder, texts)
    print(json.dumps({"rows_per_second": len(texts) / seconds, "words": words}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("tokenizer")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nlpaug", default="", help="the Python of an environment with nlpaug")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args)
        return
    pythons = {**dict.fromkeys(OURS, sys.executable), **({"nlpaug": args.nlpaug} if args.nlpaug else {})}
    readings: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory() as folder:
        make_model(args.tokenizer, folder)
        for _ in range(args.rounds):
            for name, python in pythons.items():
                command = [python, __file__, args.data, args.tokenizer, "--rows", str(args.rows), "--one", name]
                found = subprocess.run(
                    [*command, "--folder", folder],
                    env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                readings[name].append(json.loads(found.stdout.splitlines()[-1]))
    speed = {name: statistics.median(r["rows_per_second"] for r in found) for name, found in readings.items()}
    print(f"{'':10}{'rows/s':>10}{'words':>8}{'batched is':>12}")
    for name, value in speed.items():
        print(f"{name:10}{value:10.1f}{readings[name][0]['words']:8.0f}{speed['batched'] / value:11.1f}x")
    Path("augment_mlm.json").write_text(json.dumps(readings, indent=1))


if __name__ == "__main__":
    main()
