"""Sentences a second on one core: every word- and character-level technique, beside nlpaug, TextAttack and nlpcda.

    python benchmarks/augment_speed.py DATA.csv CHINESE.csv [--rivals VENV/bin/python] [--rows 2000] [--rounds 3]

The first lines are the technique alone, as a learning step that augments afresh each epoch would use it: a generator
for the row, its edits, the new text. `step` is all of a step that doubles the rows without filters. Each contender is
a process of its own, in turns, so that a slow minute of the machine hits all alike; the best of the rounds counts.
Rivals run in an environment of their own, on the same sentences and the same share of words; what does not install or
run there is said, with its last line. Also: seconds until WordNet is ready from burnish's cache.
Prints a table and writes augment_speed.json.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

MINE = (
    "aeda", "keyboard", "ocr", "typos", "random_deletion", "random_swap", "synonyms", "random_insertion", "eda",
    "homophones", "lookalikes",
)  # fmt: skip
CHINESE = ("homophones", "lookalikes", "zh:synonyms", "zh:random_deletion", "zh:random_swap", "zh:aeda")
# What was asked for, in sentences a second.
TARGETS = dict.fromkeys(("aeda", "keyboard", "ocr", "typos"), 20_000) | dict.fromkeys(
    ("synonyms", "random_insertion", "eda"), 5_000
)
# Rival operation and what it is beside.
RIVALS = {
    "nlpaug:keyboard": "keyboard", "nlpaug:ocr": "ocr", "nlpaug:random_char": "typos", "nlpaug:synonym": "synonyms",
    "nlpaug:swap": "random_swap", "nlpaug:delete": "random_deletion",
    "textattack:eda": "eda", "textattack:wordnet": "synonyms", "textattack:char": "typos",
    "nlpcda:homophone": "homophones", "nlpcda:similarword": "zh:synonyms", "nlpcda:char_delete": "zh:random_deletion",
    "nlpcda:char_swap": "zh:random_swap",
}  # fmt: skip


def texts_of(path: str, count: int) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)][:count]


def timed(texts: list[str], work) -> dict[str, float]:
    for text in texts[:50]:
        work(text)
    start = time.perf_counter()
    for text in texts:
        work(text)
    return {"per_second": len(texts) / (time.perf_counter() - start)}


def run_mine(name: str, texts: list[str]) -> dict[str, float]:
    from random import Random
    from types import SimpleNamespace

    from burnish import catalog
    from burnish.augment import _chinese
    from burnish.augment._edits import carried
    from burnish.augment._rows import own_rng
    from burnish.core import Row, Work

    bare = name.removeprefix("zh:")
    step = catalog.build(f"augment/{bare}", {"ratio": 1.0, "filters": []})
    rows = [Row(f"data:{i}", text, target="a") for i, text in enumerate(texts)]
    work = Work(None, None, SimpleNamespace(), tuple(rows), ())
    start = time.perf_counter()
    made = step(work, Random(0))
    first = time.perf_counter() - start
    _chinese._cut.cache_clear()  # the texts were cut into words once, which is part of the work
    start = time.perf_counter()
    step(work, Random(0))
    whole = time.perf_counter() - start
    best = 0.0
    for _ in range(3):
        _chinese._cut.cache_clear()
        start = time.perf_counter()
        for row in rows:
            edits = step.edits(row, own_rng("key", row, 0))
            if edits:
                carried(row, edits)
        best = max(best, len(rows) / (time.perf_counter() - start))
    return {"per_second": best, "step": made.notes["new"] / whole, "load": max(first - whole, 0.0)}


def run_wordnet() -> dict[str, float]:
    from burnish.augment._wordnet import wordnet

    wordnet().readings("films")  # makes the cache, if need be
    wordnet.cache_clear()
    start = time.perf_counter()
    wordnet().readings("films")
    return {"seconds": time.perf_counter() - start}


def run_rival(name: str, texts: list[str]) -> dict[str, float]:
    library, _, operation = name.partition(":")
    return timed(texts, {"nlpaug": nlpaug, "textattack": textattack, "nlpcda": nlpcda}[library](operation))


def nlpaug(operation: str):
    import nlpaug.augmenter.char as char
    import nlpaug.augmenter.word as word

    made = {
        "keyboard": lambda: char.KeyboardAug(aug_char_max=1, aug_word_p=0.1),
        "ocr": lambda: char.OcrAug(aug_char_max=1, aug_word_p=0.1),
        "random_char": lambda: char.RandomCharAug(action="swap", aug_char_max=1, aug_word_p=0.1),
        "synonym": lambda: word.SynonymAug(aug_src="wordnet", aug_p=0.1),
        "swap": lambda: word.RandomWordAug(action="swap", aug_p=0.1),
        "delete": lambda: word.RandomWordAug(action="delete", aug_p=0.1),
    }[operation]()
    return made.augment


def textattack(operation: str):
    from textattack.augmentation import CharSwapAugmenter, EasyDataAugmenter, WordNetAugmenter

    made = {
        "eda": lambda: EasyDataAugmenter(pct_words_to_swap=0.1, transformations_per_example=1),
        "wordnet": lambda: WordNetAugmenter(pct_words_to_swap=0.1, transformations_per_example=1),
        "char": lambda: CharSwapAugmenter(pct_words_to_swap=0.1, transformations_per_example=1),
    }[operation]()
    return made.augment


def nlpcda(operation: str):
    import nlpcda as package

    made = {
        "homophone": lambda: package.Homophone(create_num=2, change_rate=0.05),
        "similarword": lambda: package.Similarword(create_num=2, change_rate=0.1),
        "char_delete": lambda: package.RandomDeleteChar(create_num=2, change_rate=0.1),
        "char_swap": lambda: package.CharPositionExchange(create_num=2, change_rate=0.1, char_gram=3),
    }[operation]()
    return made.replace


def contend(args) -> None:
    found = None
    if args.only == "wordnet":
        found = run_wordnet()
    else:
        chinese = args.only in CHINESE or args.only.startswith("nlpcda")
        texts = texts_of(args.chinese if chinese else args.data, args.rows)
        found = (run_rival if args.only in RIVALS else run_mine)(args.only, texts)
    print("\n" + json.dumps(found))


def ask(python: str, name: str, args, rows: int) -> dict[str, float] | str:
    command = [python, __file__, args.data, args.chinese, "--rows", str(rows), "--only", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.limit)
    except subprocess.TimeoutExpired:
        return f"took over {args.limit} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        return said[-1][:200]
    return json.loads(lines[-1])


def measure(args) -> dict[str, list[dict[str, float] | str]]:
    contenders = [(sys.executable, name, args.rows) for name in ("wordnet", *MINE, *CHINESE[2:])]
    if args.rivals:
        contenders += [(args.rivals, name, min(args.rows, args.rival_rows)) for name in RIVALS]
    readings: dict[str, list[dict[str, float] | str]] = {name: [] for _, name, _ in contenders}
    for turn in range(args.rounds):
        shift = turn * len(contenders) // args.rounds
        for python, name, rows in contenders[shift:] + contenders[:shift]:
            # What failed or took too long once does so again.
            if not any(isinstance(found, str) for found in readings[name]):
                readings[name].append(ask(python, name, args, rows))
                print(f"  {name}: {readings[name][-1]}", file=sys.stderr, flush=True)
    return readings


def best(readings: list[dict[str, float] | str], key: str) -> float:
    """The best round: the others were slowed down by somebody else."""
    found = [r[key] for r in readings if isinstance(r, dict)]
    return (min if key == "seconds" else max)(found) if found else float("nan")


def table(args, readings) -> dict[str, object]:
    found: dict[str, object] = {"cpus": os.cpu_count(), "rows": args.rows, "rounds": args.rounds, "readings": readings}
    print(f"WordNet from the cache: {best(readings['wordnet'], 'seconds'):.3f} s (asked: 0.5)\n")
    print(f"{'technique':22}{'sentences/s':>13}{'asked':>9}{'step, rows/s':>14}")
    for name in (*MINE, *CHINESE[2:]):
        speed, step = best(readings[name], "per_second"), best(readings[name], "step")
        print(f"{name:22}{speed:13,.0f}{TARGETS.get(name, 0) or '':>9}{step:14,.0f}")
    print(f"\n{'rival':22}{'sentences/s':>13}   {'burnish is':>10}  beside")
    for name, mine in RIVALS.items():
        failed = next((r for r in readings.get(name, ["not asked"]) if isinstance(r, str)), "")
        if failed:
            print(f"{name:22}{'-':>13}   {'-':>10}  {mine}: {failed}")
            continue
        speed = best(readings[name], "per_second")
        ratio = best(readings[mine], "per_second") / speed
        print(f"{name:22}{speed:13,.0f}   {ratio:9.2f}x  {mine}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="short English sentences, column text")
    parser.add_argument("chinese", help="Chinese texts, column text")
    parser.add_argument("--rivals", default="", help="the python of an environment with nlpaug, textattack and nlpcda")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rival-rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=60, help="seconds a contender may take a round")
    parser.add_argument("--only", choices=["wordnet", *MINE, *CHINESE, *RIVALS], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        contend(args)
        return
    found = table(args, measure(args))
    Path("augment_speed.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
