"""The deliverable on disk: engine files, tokenizer, burnish.json with a hash of every file and golden answers.

    artifact/
      burnish.json        what it is, how to serve it, what was measured
      model.onnx          or what another engine writes
      tokenizer.json      all that serving needs of a tokenizer
      tokenizer_config.json, config.json     for plain transformers

Not hashed, and not part of the size that counts: files that were added later, such as a README.
"""

import copy
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from burnish import tasks
from burnish.core import Row, Rows, Task
from burnish.errors import DataError, UsageError, problem
from burnish.runs import file_hash, read_json, tree_hashes, write_json
from burnish.serve.engines import collate, engine, input_names
from burnish.serve.files import inside, refuse_pickles, replaced_folder
from burnish.serve.tokens import Encoder, Text
from burnish.words import say

__all__ = ["artifact_folder", "read_artifact", "served_bytes", "text_of", "update_measured", "write_artifact"]

NAME = "burnish.json"
SCHEMA = 1
GOLDEN = 4  # rows whose outputs are kept; enough to see a wrong kernel, few enough to start quickly
PACKAGES = ("burnish", "torch", "transformers", "tokenizers", "onnx", "onnxruntime", "openvino", "numpy")


def write_artifact(
    folder: Path,
    *,
    model: Any,
    tokenizer: Any,
    task: Task,
    engine: str,
    precision: str,
    max_length: int,
    rows_for_golden: Rows,
    base_model: str,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """Build the whole artifact beside `folder`, then put it in its place; return what burnish.json says.

    Raises UsageError when the engine cannot express the model, Missing when the engine is not installed or the disk
    is full; whatever was in `folder` is then still there.
    """
    from burnish.heads import decoding

    maker = _maker(engine, precision)
    with replaced_folder(folder) as made:
        _save_plain(model, tokenizer, task, made)
        maker.build(_labelled(model, task), tokenizer, made, precision=precision, max_length=max_length)
        facts = {
            "schema_version": SCHEMA,
            "task": decoding(model, task).to_json(),
            "engine": engine,
            "precision": precision,
            "files": tree_hashes(made),
            "max_length": max_length,
            "inputs": input_names(model, tokenizer),
            # Only the living tokenizer knows: transformers does not save a side that was set later.
            "cut_side": tokenizer.truncation_side,
            "pad_id": _pad_id(model, tokenizer),
            "alone": precision in maker.ALONE,
            "measured": dict(measured),
            "base_model": base_model,
            "versions": _versions(),
        }
        facts["golden"] = _golden(made, facts, rows_for_golden)
        write_json(made / NAME, facts)
    return facts


def _maker(name: str, precision: str) -> Any:
    maker = engine(name)
    if precision not in maker.PRECISIONS:
        given = say("the engine '{name}' has no precision '{precision}'", name=name, precision=precision)
        known = ", ".join(maker.PRECISIONS)
        hint = say("--engine {name} with {first}", name=name, first=maker.PRECISIONS[0])
        raise UsageError(problem(given, say("one of: {known}", known=known), hint))
    return maker


def _labelled(model: Any, task: Task) -> Any:
    """`model` under a config that names the labels; the weights are shared, the caller's config is left alone."""
    from burnish.heads import output_names

    names = output_names(task)
    made = copy.copy(model)
    made.config = copy.deepcopy(model.config)
    made.config.id2label = names
    made.config.label2id = {name: i for i, name in names.items()}
    return made


def _save_plain(model: Any, tokenizer: Any, task: Task, folder: Path) -> None:
    from burnish.models import quiet

    with quiet():
        _labelled(model, task).config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if not (folder / "tokenizer.json").is_file():
        given = say("the tokenizer ({kind}) writes no tokenizer.json", kind=type(tokenizer).__name__)
        raise UsageError(problem(given, say("a fast tokenizer"), say("use AutoTokenizer, or another model")))


def _pad_id(model: Any, tokenizer: Any) -> int:
    ids = (tokenizer.pad_token_id, model.config.pad_token_id, 0)
    return next(int(i) for i in ids if i is not None)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _golden(folder: Path, facts: Mapping[str, Any], rows: Rows) -> list[dict[str, Any]]:
    """Outputs of the engine as it was just built; a server that cannot repeat them must not answer."""
    encoder = Encoder.of(folder, facts)
    predictor = engine(facts["engine"]).load(folder, threads=1)
    golden, reads = [], tasks.from_json(facts["task"]).reads
    for row in rows[:GOLDEN]:
        encoded = encoder.encode([text_of(row, reads)], truncate=True)
        outputs_C = predictor(collate(encoded.rows[:1], facts["pad_id"]))[0]
        if not np.isfinite(outputs_C).all():
            given = say("the {engine} engine answers nan or infinity for row {id}", engine=facts["engine"], id=row.id)
            raise UsageError(problem(given, say("finite outputs"), say("use another engine or precision")))
        text = text_of(row, reads)
        first, second = (text, None) if isinstance(text, str) else text
        golden.append({"text": first, "pair": second, "outputs": outputs_C.astype(float).tolist()})
    return golden


def text_of(row: Row, reads: str = "rows") -> Text:
    """A row as a client sends it: a text, a pair of texts, or a question and the text with its answer."""
    if row.pair is None:
        return row.text
    return (row.pair, row.text) if reads == "answers" else (row.text, row.pair)


# -- reading -------------------------------------------------------------------------------------------


def artifact_folder(place: Path | str) -> Path:
    """The artifact at `place`: the folder itself, or the artifact of the run there or in ./runs.

    Raises UsageError when there is none.
    """
    for folder in (Path(place), Path(place) / "artifact", Path("runs") / place / "artifact"):
        if (folder / NAME).is_file():
            return folder
    given = say("'{place}' holds no artifact", place=place)
    expected = say("a run that `burnish fit` finished, or a folder with {name}", name=NAME)
    raise UsageError(problem(given, expected, "burnish fit DATA --out RUN"))


def read_artifact(folder: Path) -> dict[str, Any]:
    """What burnish.json says, after checking the hash of every file it lists.

    Raises UsageError when there is no artifact, DataError when a file is damaged, missing, a link or a pickle.
    """
    path = artifact_folder(folder) / NAME
    refuse_pickles(path.parent)
    facts = read_json(path)
    _check_facts(path, facts)
    for name, expected in facts["files"].items():
        if file_hash(inside(path.parent, name)) != expected:
            given = say("{path} is damaged: its SHA-256 is not the one in burnish.json", path=path.parent / name)
            hint = say("copy the artifact again, or give the same `burnish fit` command again")
            raise DataError(problem(given, f"SHA-256 {expected}", hint))
    return dict(facts)


def _check_facts(path: Path, facts: Any) -> None:
    """The keys that serving reads, with the kinds it expects; the rest is for people."""
    kinds = {
        "task": dict, "engine": str, "precision": str, "files": dict, "max_length": int, "inputs": list, "pad_id": int,
        "cut_side": str,        "alone": bool, "golden": list,
    }  # fmt: skip
    schema = facts.get("schema_version") if isinstance(facts, dict) else None
    wrong = [k for k, kind in kinds.items() if not isinstance(facts.get(k), kind)] if schema == SCHEMA else []
    if schema != SCHEMA or wrong:
        given = (
            say("{path} has no usable {keys}", path=path, keys=", ".join(wrong))
            if wrong
            else say("{path} has schema version {schema}", path=path, schema=schema)
        )
        hint = say("use the version of burnish that wrote it, or give the same `burnish fit` command again")
        raise DataError(problem(given, say("schema version {schema}", schema=SCHEMA), hint))


def served_bytes(folder: Path) -> int:
    """Bytes of all that is needed to serve: every hashed file and burnish.json."""
    folder = artifact_folder(folder)
    names = [NAME, *read_json(folder / NAME)["files"]]
    return sum((folder / name).stat().st_size for name in names)


def update_measured(folder: Path, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the measured numbers in burnish.json; nothing else changes. Returns the new content."""
    path = artifact_folder(folder) / NAME
    facts = {**read_json(path), "measured": dict(measured)}
    write_json(path, facts)
    return facts
