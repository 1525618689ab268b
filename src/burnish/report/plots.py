"""Charts as inline SVG strings: pure functions of numbers, the same bytes for the same numbers.

Each chart is one panel, about 12 cm wide, so that two stand side by side on a desk and one fills a phone. Colours are
names (`var(--c-chosen)`) which the page defines for light, dark and paper. Text stays text. matplotlib draws;
its clock, its random ids and its reading of `$...$` as formulas are switched off.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from burnish.runs import text_hash
from burnish.words import say

__all__ = ["Dot", "Series", "against_quality", "curves", "intervals", "lengths", "reliability", "scatter"]

WIDTH, HEIGHT = 4.7, 3.1  # inches; one inch is 72 units of the SVG
# Where the axes stand in the panel: fixed, so that panels line up and matplotlib need not draw twice to find out.
FRAME = (0.095, 0.145, 0.885, 0.755)  # left, bottom, width, height, in shares of the panel
# matplotlib wants colours of its own; each stands in for a colour name of the page.
INK, MUTED, GRID, CHOSEN, REFERENCE, OTHER, SECOND, BACK = (f"#0101{n:02x}" for n in range(8))
NAMES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    CHOSEN: "chosen",
    REFERENCE: "reference",
    OTHER: "other",
    SECOND: "second",
    BACK: "back",
}
COLORS = {"chosen": CHOSEN, "reference": REFERENCE}
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
Draw = Callable[[Any], None]


@dataclass(frozen=True)
class Dot:
    """One candidate: where it stands on x, its quality with interval, its number in the table, and what it is."""

    x: float
    value: float
    low: float | None
    high: float | None
    number: str
    kind: str = "other"  # 'chosen', 'reference', 'front' (of the Pareto set) or 'other'


@dataclass(frozen=True)
class Series:
    """One line of a chart; `smooth` draws the points faintly and their running mean over them."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    smooth: bool = False
    mark: float | None = None  # an x to point out, such as the best step


def against_quality(dots: Sequence[Dot], *, title: str, x_label: str, y_label: str, limit: float | None = None) -> str:
    """Quality (y, with interval bars) against a cost (x, logarithmic): up and to the left is better."""

    def draw(ax: Any) -> None:
        for dot in sorted(dots, key=lambda d: ("other", "front", "reference", "chosen").index(d.kind)):
            _dot(ax, dot)
        _front(ax, dots)
        _log_ticks(ax, [dot.x for dot in dots] + ([limit] if limit else []))
        if limit:
            ax.axvline(limit, color=SECOND, lw=1, ls=(0, (4, 3)), zorder=1)
            ax.annotate(
                say("limit"), (limit, 1), (3, -2), ("data", "axes fraction"), "offset points",
                color=SECOND, fontsize=8, va="top",
            )  # fmt: skip
        ax.set_xlabel(x_label)
        _name_y(ax, y_label)
        ax.grid(axis="y")
        _number(ax, dots)

    return _svg(title, _points_told(dots), draw)


def _name_y(ax: Any, label: str) -> None:
    """The name of the y axis stands above it, where nobody has to turn the head."""
    ax.set_title(label, loc="left", x=-FRAME[0] / FRAME[2] + 0.005, fontsize=9, color=MUTED, pad=9)


def _dot(ax: Any, dot: Dot) -> None:
    color = COLORS.get(dot.kind, OTHER)
    strong = dot.kind in ("chosen", "reference")
    if dot.low is not None and dot.high is not None:
        ax.plot([dot.x, dot.x], [dot.low, dot.high], color=color, lw=1.6 if strong else 0.9, zorder=2)
    ax.plot(
        [dot.x], [dot.value],
        marker="D" if dot.kind == "reference" else "o", ms=7.5 if strong else 5.5, zorder=4,
        mfc=color if dot.kind != "other" else BACK, mec=color, mew=1.2, ls="none",
    )  # fmt: skip


def _number(ax: Any, dots: Sequence[Dot]) -> None:
    """Write each dot's number beside it, in the first of six places that no other number or dot takes."""
    ax.get_xlim(), ax.get_ylim()  # settles the scales, which the places below are measured in
    at = {id(d): ax.transData.transform((d.x, d.value)) * 72 / ax.figure.dpi for d in dots}  # in points
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at.values()]
    taken.append((72 * WIDTH - 2, 0, 72 * WIDTH + 99, 72 * HEIGHT))  # nothing is written beyond the right edge
    for dot in sorted(dots, key=lambda d: d.kind not in ("chosen", "reference")):
        (x, y), wide = at[id(dot)], 5.5 * len(dot.number)
        places = ((5, 3), (5, -10), (-5 - wide, 3), (-5 - wide, -10), (5, 13), (-5 - wide, 13))
        boxes = [(x + dx, y + dy, x + dx + wide, y + dy + 8) for dx, dy in places]
        free = next((n for n, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)), 0)
        taken.append(boxes[free])
        strong = dot.kind in ("chosen", "reference")
        ax.annotate(
            dot.number, (dot.x, dot.value), places[free], textcoords="offset points", zorder=5,
            color=COLORS.get(dot.kind, INK), fontsize=9 if strong else 8, fontweight="bold" if strong else "normal",
        )  # fmt: skip


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _front(ax: Any, dots: Sequence[Dot]) -> None:
    """The Pareto set as a faint line through its members, from cheap to dear."""
    members = sorted((d for d in dots if d.kind in ("front", "chosen", "reference")), key=lambda d: (d.x, -d.value))
    kept: list[Dot] = []
    for dot in members:
        if not kept or dot.value > kept[-1].value:
            kept.append(dot)
    if len(kept) > 1:
        ax.plot([d.x for d in kept], [d.value for d in kept], color=CHOSEN, lw=1, alpha=0.35, zorder=1)


def _log_ticks(ax: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers on it: 5, 10, 20, not 10^1."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    room = max((max(values) / min(values)) ** 0.09, 1.15)
    low, high = min(values) / room, max(values) * room
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for within in ((1, 2, 5), (1,)):
        ticks = [m * 10.0**e for e in exponents for m in within if low <= m * 10.0**e <= high]
        if len(ticks) <= 7:
            break
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _: int = 0) -> str:
    """A plain number: 0.5, 20, 1,000; 5e−5 where zeros would hide it."""
    text = f"{value:,.6g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}".replace("e-0", "e-")
    return text.replace("-", "−")


def _points_told(dots: Sequence[Dot]) -> str:
    return say("{count} models; the table below holds their numbers.", count=len(dots))


def curves(lines: Sequence[Series], *, title: str, x_label: str, y_label: str, zero: bool = False) -> str:
    """Lines over the steps of training. `zero` starts the y axis there."""
    colors = (CHOSEN, REFERENCE, SECOND, OTHER)

    def draw(ax: Any) -> None:
        for line, color in zip(lines, colors * (1 + len(lines) // len(colors)), strict=False):
            _line(ax, line, color, named=len(lines) > 1)
        if zero:
            ax.set_ylim(bottom=0)
        if max((max(map(abs, line.y), default=0) for line in lines), default=0) < 1e-3:
            ax.yaxis.set_major_formatter(_tick)
        ax.set_xlabel(x_label)
        _name_y(ax, y_label)
        ax.grid(axis="y")
        if len(lines) > 1:
            ax.legend(loc="best", handlelength=1.4)

    told = "; ".join(
        say("{name} from {first} to {last}", name=s.name, first=f"{s.y[0]:.4g}", last=f"{s.y[-1]:.4g}")
        for s in lines
        if len(s.y)
    )
    return _svg(title, told, draw)


def _line(ax: Any, line: Series, color: str, named: bool) -> None:
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    label = line.name if named else None
    few = "o" if len(x) <= 12 else None
    if line.smooth and len(x) > 20:
        ax.plot(x, y, color=color, lw=0.7, alpha=0.3)
        window = max(5, len(x) // 25) | 1
        mean = np.convolve(np.pad(y, window // 2, mode="edge"), np.ones(window) / window, mode="valid")
        ax.plot(x, mean, color=color, lw=1.6, label=label)
    else:
        ax.plot(x, y, color=color, lw=1.5, marker=few, ms=4, label=label)
    if line.mark is not None and line.mark in x:
        at = float(y[list(x).index(line.mark)])
        ax.plot([line.mark], [at], marker="o", ms=9, mfc="none", mec=SECOND, mew=1.4, ls="none")
        ax.annotate(
            say("kept"), (line.mark, at), (0, -9), textcoords="offset points",
            ha="center", va="top", color=SECOND, fontsize=8.5,
        )  # fmt: skip


def reliability(
    confidence: Sequence[float],
    right: Sequence[float],
    rows: Sequence[int],
    spread: Sequence[tuple[float, float]],
    *,
    title: str,
) -> str:
    """Share of right answers (with interval) against the confidence they were given with, a dot a bin.

    All in [0, 1]; the diagonal is perfect calibration. `rows` are the bin counts, drawn as bars along the bottom.
    """

    def draw(ax: Any) -> None:
        ax.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=(0, (4, 3)))
        top = max(rows, default=1)
        ax.bar(confidence, [0.16 * n / top for n in rows], width=0.045, color=OTHER, alpha=0.35, lw=0)
        for x, y, (low, high) in zip(confidence, right, spread, strict=True):
            ax.plot([x, x], [low, high], color=CHOSEN, lw=1)
            ax.plot([x], [y], marker="o", ms=5.5, color=CHOSEN)
        ax.set_xlim(min([0.5, *confidence]) - 0.06 if confidence else 0, 1.02)
        ax.set_ylim(0, 1.03)
        ax.set_xlabel(say("confidence of the answer"))
        _name_y(ax, say("share that is right"))
        ax.grid(axis="y")

    return _svg(title, say("Dots on the dashed line are well calibrated; below it the model is too sure."), draw)


def lengths(
    edges: Sequence[float], counts: Sequence[float], *, title: str, unit: str, limit: float | None = None
) -> str:
    """Histogram of text lengths in `unit`: `edges` [B + 1], `counts` [B], and where texts are cut."""

    def draw(ax: Any) -> None:
        ax.bar(edges[:-1], counts, width=np.diff(edges) * 0.92, align="edge", color=CHOSEN, alpha=0.75, lw=0)
        if limit:
            ax.axvline(limit, color=SECOND, lw=1, ls=(0, (4, 3)))
            ax.annotate(
                say("cut at {limit}", limit=f"{limit:.0f}"), (limit, 1), (-4, -2), ("data", "axes fraction"),
                "offset points", color=SECOND, fontsize=8.5, va="top", ha="right",
            )  # fmt: skip
        ax.set_xlabel(unit)
        _name_y(ax, say("rows"))
        ax.grid(axis="y")

    return _svg(title, say("{count} texts.", count=int(sum(counts))), draw)


def scatter(true: Sequence[float], said: Sequence[float], *, title: str) -> str:
    """What a regression said against what is true; the diagonal is perfect."""

    def draw(ax: Any) -> None:
        low, high = min(*true, *said), max(*true, *said)
        ax.plot([low, high], [low, high], color=MUTED, lw=0.8, ls=(0, (4, 3)))
        ax.plot(true, said, marker="o", ms=3.5, ls="none", mfc=CHOSEN, mec="none", alpha=0.45)
        ax.set_xlabel(say("true value"))
        _name_y(ax, say("answer"))
        ax.grid(axis="y")

    return _svg(title, say("{count} rows; the table below sums them up.", count=len(true)), draw)


def intervals(lines: Sequence[tuple[str, float, float, float]], *, title: str, x_label: str) -> str:
    """A line each: its name, and an interval (low, value, high) on one axis with a mark at 0."""

    def draw(ax: Any) -> None:
        ax.axvline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)))
        for y, (name, low, value, high) in enumerate(lines):
            ax.plot([low, high], [-y, -y], color=CHOSEN, lw=1.6)
            ax.plot([value], [-y], marker="o", ms=6, color=CHOSEN)
            ax.annotate(name, (0, -y), (2, 8), ("axes fraction", "data"), "offset points", fontsize=8.5, color=INK)
        ax.set_yticks([])
        ax.set_ylim(-len(lines) + 0.4, 0.8)
        ax.set_xlabel(x_label)
        ax.grid(axis="x")

    told = "; ".join(f"{name}: {value:.1f} ({low:.1f} to {high:.1f})" for name, low, value, high in lines)
    return _svg(title, told, draw)


def _svg(title: str, told: str, draw: Draw) -> str:
    """Draw one panel; the title and what it shows go where a screen reader looks for them."""
    import matplotlib
    from matplotlib.figure import Figure

    name = f"plot-{text_hash(title)[:8]}"
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in a script that DejaVu lacks: the browser has the letters
        figure = Figure(figsize=(WIDTH, HEIGHT))
        ax = figure.add_axes(FRAME)
        draw(ax)
        ax.spines["left"].set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(file.getvalue(), name, title, told)


def _inline(svg: str, name: str, title: str, told: str) -> str:
    """Make a standalone SVG fit to stand inside a page: no prolog, no fixed size, no id that another chart has."""
    svg = svg[svg.index("<svg") :].strip()
    box = re.search(r'viewBox="([^"]*)"', svg)
    assert box is not None
    head = f'<svg class="plot" viewBox="{box[1]}" role="img" aria-labelledby="{name}-t {name}-d" xmlns="http://www.w3.org/2000/svg">'
    head += f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(told)}</desc>'
    svg = head + svg[svg.index(">") + 1 :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.S)
    svg = re.sub(r" font-family: [^;]*;", "", svg)  # the page's own font
    pointed = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)) | {f"{name}-t", f"{name}-d"}
    svg = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in pointed else "", svg)
    svg = svg.replace("xlink:href", "href")
    for color, css in NAMES.items():
        svg = svg.replace(color, f"var(--c-{css})")
    return re.sub(r"\n\s*", "\n", svg)
