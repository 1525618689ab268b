"""New rows -> one HTML page for a person to accept or reject, and the file the answers go into.

The page needs no network and no script to be read; its one script collects answers, and the browser runs no other:
the page's policy names it by its hash. Texts of the data are someone else's, and are escaped.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.core import Span
from burnish.data.family import key_of
from burnish.plan.augment import Pair
from burnish.plan.verdicts import blank
from burnish.report import show
from burnish.report.page import environment
from burnish.runs import write_text
from burnish.words import say

__all__ = ["chosen", "files_beside", "render", "write"]

SCRIPT = Path(__file__).parent / "templates" / "review.js"


def files_beside(out: Path) -> tuple[Path, Path]:
    """The page and the answers file that belong to the rows in `out`."""
    return out.with_suffix(".review.html"), out.with_suffix(".answers.csv")


def chosen(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """`count` of the pairs, as many of each technique as there are, in random order; the same for the same seed."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda pair: _rank(pair.child.id, seed)):
        groups[pair.technique].append(pair)
    turns = max(map(len, groups.values()), default=0)
    dealt = [group[turn] for turn in range(turns) for _, group in sorted(groups.items()) if turn < len(group)]
    return sorted(dealt[:count], key=lambda pair: _rank(pair.child.id, seed))


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def write(pairs: Sequence[Pair], out: Path) -> tuple[Path, Path]:
    """The page and the answers file beside `out`."""
    page, answers = files_beside(out)
    write_text(answers, blank([(p.child.id, p.technique, _key(p), show.printable(p.marked)) for p in pairs]))
    write_text(page, render(pairs, out.name, answers.name))
    return page, answers


def render(pairs: Sequence[Pair], name: str, answers_file: str) -> str:
    from markupsafe import Markup

    script = SCRIPT.read_text("utf-8")
    html: str = (
        environment()
        .get_template("review.html")
        .render(
            name=name,
            answers_file=answers_file,
            pairs=[_shown(pair) for pair in pairs],
            script=Markup(script),  # noqa: S704 (ours, from the file beside the template; nothing of the data is in it)
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return show.printable(html)


def _shown(pair: Pair) -> Mapping[str, Any]:
    return {
        "id": pair.child.id,
        "technique": pair.technique,
        "key": _key(pair),
        "label": _label(pair.child.target, pair.child.text),
        "pieces": pair.pieces(),
    }


def _key(pair: Pair) -> str:
    return key_of(pair.child.text, pair.child.pair)


def _label(target: Any, text: str) -> str:
    if isinstance(target, tuple):
        parts = [f"{text[p.start : p.end]} = {p.label}" if isinstance(p, Span) else str(p) for p in target]
        return ", ".join(parts) or say("no label")
    return str(target)
