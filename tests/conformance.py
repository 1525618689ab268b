"""The promises every step keeps. A new technique gets them all by standing in its folder."""

import ast
import atexit
import copy
import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from burnish import catalog, models
from burnish.core import Row, Work, describe, name_of
from burnish.errors import Missing, UsageError
from burnish.train.evaluate import outputs_of_rows
from tests.augment.tiny_models import causal_folder, mlm_folder, seq2seq_folder
from tests.tiny import tiny_spans, tiny_work

# What each stage may change.
CHANGES = {"augment": {"train"}, "tune": {"model", "tokenizer"}, "compress": {"model", "tokenizer"}}
# Settings that make a step quick on the tiny work; no argument is still tried on its own.
QUICK = {
    "tune/finetune": {"epochs": 1},
    "tune/setfit": {"steps": 10},
    "tune/few_rows": {"rivals": ["tune/finetune:epochs=1", "tune/frozen", "tune/setfit:steps=10"], "folds": 2},
    "compress/drop_layers": {"epochs": 1},
    "compress/movement": {"epochs": 1, "batch_size": 8},
    "compress/prune_units": {"epochs": 1},
    "compress/distill": {"epochs": 1},
    "compress/share_layers": {"groups": 1, "epochs": 1},
    "compress/student": {"epochs": 1},
    "compress/early_exit": {"epochs": 1},
    "compress/experts": {"epochs": 1},
    "compress/vocabulary": {"spare": 0},
}
QUICK["augment/templates"] = {
    "file": str(Path(__file__).parent / "augment" / "films.templates"),
    "fillers": str(Path(__file__).parent / "augment" / "films.tsv"),
}
QUICK["augment/auto"] = {"techniques": ["aeda", "random_swap"], "ratios": [1.0], "splits": 2, "confirm": 2}
QUICK["augment/learned"] = {"policy": ["aeda@1x1+random_swap@0.5x2"], "operations": ["aeda", "random_swap"]}
# A dictionary of one page, and the user's own list, so that no package is needed.
for _name in ("eda", "random_insertion", "synonyms"):
    QUICK[f"augment/{_name}"] = {"wordnet": str(Path(__file__).parent / "augment" / "wordnet")}
for _name in ("homophones", "lookalikes"):
    QUICK[f"augment/{_name}"] = {"own": str(Path(__file__).parent / "augment" / "characters.txt")}
# Those that need a model to write with: made when asked for, and kept among the temporary files.
MADE = {
    "augment/back_translation": lambda: {
        "engine": "models",
        "models": [str(seq2seq_folder(1)), str(seq2seq_folder(2))],
        "temperature": 1.0,
        "filters": [],
    },
    "augment/dp_rewrite": lambda: {"model": str(mlm_folder())},
    "augment/masked_lm": lambda: {"model": str(mlm_folder())},
    "augment/paraphrase": lambda: {"model": str(causal_folder()), "filters": ["near"]},
    "augment/pwws": lambda: {"source": "masked_lm", "place": str(mlm_folder()), "similarity": 0.0},
    "augment/textfooler": lambda: {"source": "masked_lm", "place": str(mlm_folder()), "similarity": 0.0},
}
# Steps whose engine or words are an optional package: without it they refuse, and say what to install.
MAY_MISS = (
    "augment/back_translation", "augment/pwws", "augment/textfooler",
    "augment/eda", "augment/homophones", "augment/lookalikes", "augment/random_insertion", "augment/synonyms",
)  # fmt: skip


def chinese(rows: Sequence[Row]) -> list[Row]:
    """The rows with three characters for each word."""
    return [
        replace(r, text="".join("他房的她景再地青得"[len(w) % 7 :][:3] for w in r.text.split()) + r.text[:2])
        for r in rows
    ]


# Steps that need other training rows than as many of one label as of the other.
ROWS = {
    "augment/balance": lambda rows: [row for i, row in enumerate(rows) if i % 2 or i % 6 == 0],
    "augment/context": tiny_spans,
    "augment/entities": tiny_spans,
    "augment/homophones": chinese,
    "augment/label_words": tiny_spans,
    "augment/lookalikes": chinese,
    "augment/shuffle_segments": tiny_spans,
}
LIGHT = ("torch", "transformers", "onnx", "onnxruntime", "sklearn", "scipy")


def quick(name: str) -> Any:
    return catalog.build(name, MADE[name]() if name in MADE else QUICK.get(name, {}))


def work_for(name: str) -> Work:
    work = tiny_work()
    return replace(work, train=ROWS[name](work.train)) if name in ROWS else work


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def rules(tokenizer: Any) -> dict[str, Any]:
    """What a tokenizer does, without the cut and the padding of its last call."""
    return {**json.loads(tokenizer.backend_tokenizer.to_str()), "truncation": None, "padding": None}


def outputs(work: Work) -> np.ndarray:
    return outputs_of_rows(work.model, work.tokenizer, work.valid, 64)


def works_without_arguments(name: str) -> None:
    needs_some = any(not setting.default for setting in catalog.page(name).settings)
    step = quick(name) if needs_some else catalog.find(name)()
    try:
        assert isinstance(step(work_for(name), Random(0)), Work)
    except Missing as missing:
        assert name in MAY_MISS and "install" in str(missing)  # noqa: PT017, PT018 (only some may)


def is_frozen_and_compares_by_value(name: str) -> None:
    step = quick(name)
    assert is_dataclass(step)
    assert step == quick(name)
    with pytest.raises(AttributeError):
        step.anything = 1


def settings_survive_json(name: str) -> None:
    step = quick(name)
    assert name_of(step) == name
    assert catalog.build(name, json.loads(json.dumps(describe(step)))) == step


def unknown_settings_are_refused_with_the_nearest_name(name: str) -> None:
    fields = list(describe(quick(name)))
    wrong = fields[0] + "x"
    with pytest.raises(UsageError, match=fields[0]):
        catalog.build(name, {wrong: 1})


def names_its_paper(name: str) -> None:
    text = ast.get_docstring(ast.parse((catalog.ROOT / f"{name}.py").read_text("utf-8"))) or ""
    assert "Paper:" in text or "no paper:" in text


def same_seed_gives_the_same_result_in_another_process(name: str) -> None:
    assert len({_elsewhere(seed)(name) for seed in ("1", "2")}) == 1


def fingerprint(name: str) -> str:
    """Hash of what a step makes of its work, always with the same seed."""
    made = quick(name)(work_for(name), Random("s"))
    return hashlib.sha256(outputs(made).tobytes() + repr(list(made.train)).encode()).hexdigest()


@functools.cache
def _elsewhere(hash_seed: str) -> Callable[[str], str]:
    """`fingerprint` in a process with a hash seed of its own, which takes name after name until this one ends."""
    code = (
        "import sys, torch; from tests.conformance import fingerprint; torch.set_num_threads(2)\n"
        "for line in sys.stdin: print('>', fingerprint(line.strip()), flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    atexit.register(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    write, read = process.stdin, process.stdout

    def ask(name: str) -> str:
        write.write(f"{name}\n")
        write.flush()
        for line in read:
            if line.startswith("> "):
                return line
        raise AssertionError(f"the other process ended on {name}: its last words are on stderr")

    return ask


def leaves_its_input_alone(name: str) -> None:
    work = work_for(name)
    before, rows = weights(work.model), copy.deepcopy((work.train, work.valid))
    form = rules(work.tokenizer)
    quick(name)(work, Random(0))
    assert all(torch.equal(v, before[k]) for k, v in work.model.state_dict().items())
    assert (work.train, work.valid) == rows
    assert rules(work.tokenizer) == form


def changes_only_its_stages_fields(name: str) -> None:
    work = work_for(name)
    made = quick(name)(work, Random(0))
    changed = {f for f in ("model", "tokenizer", "task", "train", "valid") if getattr(made, f) is not getattr(work, f)}
    assert changed <= CHANGES[name.split("/")[0]]


def saves_and_reloads_to_identical_outputs(name: str, folder: Path) -> None:
    made = quick(name)(work_for(name), Random(0))
    models.save(made.model, made.tokenizer, folder)
    model, tokenizer = models.load_saved(folder)
    assert np.array_equal(outputs(made), outputs(replace(made, model=model, tokenizer=tokenizer)))


def importing_it_has_no_side_effect(name: str) -> None:
    state = "numpy.random.get_state()[1].tolist()"
    code = (
        f"import numpy; numpy.random.seed(7); a = {state};"
        f"import burnish.{name.replace('/', '.')}; assert a == {state}; print('quiet', end='')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("quiet", "")


def does_something(name: str) -> None:
    """A silent no-op passes every check of accuracy, so this one looks for a difference."""
    work = work_for(name)
    made = quick(name)(work, Random(0))
    if made.notes.get("picked") == []:  # who chooses may choose none, and then says what was tried
        assert any(arm["pairs"] for arm in made.notes["arms"])
        return
    if name.startswith("augment/"):
        assert list(made.train) != list(work.train)
        return
    before, after = work.model.state_dict(), made.model.state_dict()
    assert set(before) != set(after) or any(
        v.shape != after[k].shape or not torch.equal(v, after[k]) for k, v in before.items()
    )
