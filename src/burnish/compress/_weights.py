"""What the weight-only techniques share: which layers they take, what they refuse, and the model they hand back."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from burnish import models
from burnish.compress._coded import Form, replace_linear, replace_table
from burnish.compress._codes import Codes, Grid, decode, round_weights
from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = [
    "Solved",
    "Wishes",
    "check",
    "finish",
    "grid_for",
    "layers_of",
    "refuse",
    "relative_error",
    "rounded_rest",
]

STEPS = 40  # ranges tried by a search
FEW = 8  # the same for tables, which are far larger and matter far less
SMALLEST = 16  # layers with fewer inputs or outputs stay float: nothing to gain there


class Wishes(Protocol):
    """The settings that every weight-only technique has."""

    @property
    def bits(self) -> int: ...
    @property
    def group(self) -> int: ...
    @property
    def symmetric(self) -> bool: ...
    @property
    def search(self) -> bool: ...
    @property
    def activations(self) -> str: ...
    @property
    def rest(self) -> int: ...
    @property
    def embeddings(self) -> int: ...


class Solved(NamedTuple):
    """What became of one layer. Its inputs are multiplied by `factors` [K] first, where there are any."""

    codes: Codes
    factors: Tensor | None = None

    def plain(self, group: int) -> Tensor:
        """The float weights [N, K] that do the same."""
        w_NK = decode(self.codes, group)
        return w_NK if self.factors is None else w_NK * self.factors


def check(wishes: Wishes) -> None:
    """Raises UsageError for a setting out of range."""
    for name, value, good in (
        ("bits", wishes.bits, (2, 3, 4, 8)),
        ("group", wishes.group, (0, 16, 32, 64, 128, 256)),
        ("rest", wishes.rest, (0, 4, 8)),
        ("embeddings", wishes.embeddings, (0, 4, 8)),
        ("activations", wishes.activations, ("int8", "float")),
    ):
        if value not in good:
            known = ", ".join(map(str, good))
            raise UsageError(problem(f"{name}={value}", known, f"--set {name}={good[-1]}"))


def grid_for(wishes: Wishes, *, steps: int = STEPS) -> Grid:
    return Grid(wishes.bits, wishes.group, wishes.symmetric, steps if wishes.search else 0)


def refuse(model: Any, use: str) -> None:
    """Raises UsageError for a family without known layers, and for a model that holds integers already."""
    models.family(model)
    if models.precision(model) != "fp32":
        given = say("the layers of this model hold {held} already", held=models.precision(model))
        raise UsageError(problem(given, say("a float model"), say("leave {use} out, or put it first", use=use)))


def layers_of(model: nn.Module) -> tuple[list[str], list[str], list[str]]:
    """The linear layers of the encoder layers, those outside of them, and the embedding tables.

    Tables inside the encoder (relative positions) are not looked up but multiplied with, and stay float.
    """
    inside = models.family(model).layers + "."
    linear = [n for n, m in model.named_modules() if type(m) is nn.Linear and min(m.weight.shape) >= SMALLEST]
    words = model.get_input_embeddings()  # type: ignore[operator]
    beside = next((n.rpartition(".")[0] for n, m in model.named_modules() if m is words), "") + "."
    tables = [n for n, m in model.named_modules() if n.startswith(beside) and _is_table(m)]
    return [n for n in linear if n.startswith(inside)], [n for n in linear if not n.startswith(inside)], tables


def _is_table(module: nn.Module) -> bool:
    return type(module) is nn.Embedding and module.num_embeddings >= SMALLEST and module.embedding_dim % 16 == 0


def rounded_rest(model: nn.Module, wishes: Wishes, solved: Mapping[str, Solved]) -> dict[str, Solved]:
    """Roundings of the encoder's linear layers that are not among those `solved`."""
    left = [name for name in layers_of(model)[0] if name not in solved]
    return {name: Solved(round_weights(_weight(model, name), grid_for(wishes))) for name in left}


def finish(model: nn.Module, use: str, wishes: Wishes, solved: Mapping[str, Solved]) -> dict[str, Any]:
    """Put codes into `model`, in place: those that were `solved`, and roundings for all the rest. Returns notes."""
    before = _bytes(model)
    _, others, tables = layers_of(model)
    int8 = wishes.activations == "int8"
    linear = {
        name: replace_linear(
            model,
            name,
            found.codes,
            Form(wishes.bits, wishes.group, wishes.symmetric, int8, found.factors is not None),
            found.factors,
        )
        for name, found in solved.items()
    }
    for name in others if wishes.rest else []:
        grid = Grid(wishes.rest, 0 if wishes.rest == 8 else wishes.group, True, STEPS if wishes.search else 0)
        codes = round_weights(_weight(model, name), grid)
        linear[name] = replace_linear(model, name, codes, Form(grid.bits, grid.group, True, int8))
    facts = {"precision": f"int{wishes.bits}", "linear": linear, "tables": _code_tables(model, wishes, tables)}
    models.add_structure(model, use, facts)
    return {"layers": len(linear), "tables": len(facts["tables"]), "bytes_before": before, "bytes": _bytes(model)}


def _code_tables(model: nn.Module, wishes: Wishes, names: Iterable[str]) -> dict[str, Any]:
    made = {}
    for name in names if wishes.embeddings else []:
        weight_VH = _weight(model, name)
        fits = wishes.embeddings == 4 and wishes.group and weight_VH.shape[1] % wishes.group == 0
        grid = Grid(wishes.embeddings, wishes.group if fits else 0, True, FEW if wishes.search else 0)
        made[name] = replace_table(model, name, round_weights(weight_VH, grid), Form(grid.bits, grid.group, True))
    return made


def _weight(model: nn.Module, name: str) -> Tensor:
    weight = model.get_submodule(name).weight
    assert isinstance(weight, Tensor)
    return weight.detach().float()


def _bytes(model: nn.Module) -> int:
    tensors = {t.data_ptr(): t.numel() * t.element_size() for t in model.state_dict().values()}
    return sum(tensors.values())


def relative_error(w_NK: Tensor, q_NK: Tensor, h_KK: Tensor) -> float:
    """‖x @ (w - q).T‖² / ‖x @ w.T‖² over all inputs x, from h ~ x.T @ x alone."""
    gap_NK = w_NK - q_NK
    whole = ((w_NK @ h_KK) * w_NK).sum()
    return float(((gap_NK @ h_KK) * gap_NK).sum() / whole) if whole > 0 else 0.0
