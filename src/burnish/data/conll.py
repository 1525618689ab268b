"""CoNLL files: a token and its tag on a line, blank lines between sentences. Bytes to rows of tokens and tags.

    EU       NNP  B-ORG        the first column is the token, the last its tag; tabs or blanks between
    rejects  VBZ  O
                               a line of blanks or tabs alone ends a sentence too
    # text = ...               a comment, since its last column is no tag

What is between the first and the last column is not read, and neither is -DOCSTART-.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from burnish.data.table import Parsed
from burnish.data.tags import parsed
from burnish.errors import DataError, problem
from burnish.words import say

__all__ = ["SUFFIXES", "is_conll", "parse_conll"]

SUFFIXES = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".bilou", ".bmes")
LOOKED_AT = 500  # lines from which a file without such a suffix is judged
SHOWN = 5
DOCUMENT = "-DOCSTART-"

Line = tuple[int, list[str]]  # number from 1; columns, none on a blank line


def is_conll(text: str) -> bool:
    """Whether a file that does not say so is one, beyond doubt: a tag at the end of every line, and not only O."""
    lines = [columns for _, columns in islice(_lines(text), LOOKED_AT) if columns]
    tags = {columns[-1] for columns in lines}
    widths = {len(columns) for columns in lines}
    typed = any(len(tag) > 2 for tag in tags)  # plain B and O may be grades
    return len(widths) == 1 and min(widths) > 1 and "O" in tags and typed and all(map(parsed, tags))


def parse_conll(text: str, source: str) -> Parsed:
    """Rows {"tokens", "tags"}, one a sentence. Raises DataError that names the lines without a tag, or with another."""
    lines = list(_lines(text))
    content = [(number, columns) for number, columns in lines if columns]
    widths = Counter(len(columns) for _, columns in content)
    usual = max(widths, key=lambda width: widths[width], default=0)
    bad = [(number, c[-1]) for number, c in content if not (_is_skipped(c, usual) or (len(c) > 1 and parsed(c[-1])))]
    if bad:
        raise _no_tag(bad, source)
    rows, starts = [], []
    tokens: list[str] = []
    tags: list[str] = []
    for number, columns in [*lines, (0, [])]:
        if columns and not _is_skipped(columns, usual):
            starts += [] if tokens else [number]
            tokens.append(columns[0])
            tags.append(columns[-1])
        elif tokens and (not columns or columns[0] == DOCUMENT):
            rows.append({"tokens": tokens, "tags": tags})
            tokens, tags = [], []
    return Parsed(("tokens", "tags"), rows, starts)


def _lines(text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: U+2028 may stand inside a token
        if not line.strip():
            yield number, []
        elif "\t" in line:
            yield number, [column.strip() for column in line.rstrip().split("\t")]
        else:
            yield number, re.split(" +", line.strip("\r "))


def _is_skipped(columns: list[str], usual: int) -> bool:
    """The token # has a tag; `# id 12`, and a comment that happens to end in a tag, are another thing."""
    return columns[0] == DOCUMENT or (columns[0] == "#" and (len(columns) != usual or not parsed(columns[-1])))


def _no_tag(bad: list[tuple[int, str]], source: str) -> DataError:
    shown = ", ".join(say("line {line}: '{tag}'", line=line, tag=tag) for line, tag in bad[:SHOWN])
    more = say(" and {count} more", count=len(bad) - SHOWN) if len(bad) > SHOWN else ""
    given = say("{source} has lines that do not end in a tag ({shown}{more})", source=source, shown=shown, more=more)
    expected = say("a token, blanks or a tab, and O, B-TYPE or I-TYPE (or BIOES, BILOU), such as: Paris B-location")
    hint = say("mend those lines; where types have no B- or I- before them, write B- at each first token, I- after it")
    return DataError(problem(given, expected, hint))
