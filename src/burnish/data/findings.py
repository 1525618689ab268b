"""Facts about rows -> findings: what a person should know, why it matters, what to try. Looks at no row.

A finding is {"level": "info" | "warn" | "error", "what", "why", "try", "examples"}; an example is a row, rows that
belong together, or a sentence. An error would make the run's numbers wrong; a warning may cost quality or trust;
information is only worth knowing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from burnish.data.findings_spans import about_spans
from burnish.data.kind import ANSWERS, MULTI_LABEL, SEQUENCE
from burnish.words import say

__all__ = ["Finding", "findings"]

Finding = dict[str, Any]
Facts = Mapping[str, Any]

FEW_TRAIN_ROWS = 200  # below this, fine-tuning varies more with the seed than with most settings
FEW_A_LABEL = 10
ONE_SIDED, UNEVEN = 0.8, 10.0  # share of the largest label; largest over smallest
CUT_SHARE = 0.01
REPEATED_SHARE = 0.05
LEAK_SHARE = 0.01
CONFLICT_SHARE = 0.005
SECOND_LANGUAGE = 0.05
COARSE_TEST = 5.0  # points; a budget of one point means nothing on such a test


def findings(facts: Facts, notes: Sequence[str] = ()) -> list[Finding]:
    """All findings, errors first, then warnings; within a level in the order of the checks below."""
    checks = (_notes(notes), about_spans(facts), _labels(facts), _balance(facts), _amount(facts), _lengths(facts),
              _odd(facts), _repeated(facts), _leaks(facts), _conflicts(facts), _languages(facts))  # fmt: skip
    found = [finding for check in checks for finding in check]
    return sorted(found, key=lambda finding: ("error", "warn", "info").index(finding["level"]))


def _finding(level: str, what: str, why: str = "", hint: str = "", examples: Sequence[Any] = ()) -> Finding:
    return {"level": level, "what": what, "why": why, "try": hint, "examples": list(examples)}


def _notes(notes: Sequence[str]) -> Iterator[Finding]:
    for note in notes:
        yield _finding("info", note)


def _labels(facts: Facts) -> Iterator[Finding]:
    counts = facts["labels"]
    one, many = (say("entity"), say("entities")) if facts["task"] == SEQUENCE else (say("row"), say("rows"))
    lost = [c["label"] for c in counts if not c["train"]]
    if lost:
        yield _finding(
            "error",
            say("labels without a training {one}: {labels}", one=one, labels=_some(lost)),
            say("a model cannot give a label that it never saw"),
            say("add rows with them, or take them out of the test"),
        )
    few = [c["label"] for c in counts if 0 < c["train"] < FEW_A_LABEL]
    if few:
        yield _finding(
            "warn",
            say(
                "labels with fewer than {count} training {many}: {labels}",
                count=FEW_A_LABEL,
                many=many,
                labels=_some(few),
            ),
            say("so few are remembered rather than learned"),
            say("label more of them, or join them with a like label"),
        )
    for side in ("valid", "test"):
        unseen = [c["label"] for c in counts if not c[side]] if facts["rows"][side] else []
        if unseen:
            yield _finding(
                "warn",
                say("labels without a {side} {one}: {labels}", side=side, one=one, labels=_some(unseen)),
                say("nothing can be said of how well they are found"),
                say("label more of them"),
            )
    yield from _alike(counts)


def _alike(counts: Sequence[Facts]) -> Iterator[Finding]:
    """Labels that differ by case alone are nearly always one label typed two ways."""
    by_plain: dict[str, list[str]] = {}
    for count in counts:
        by_plain.setdefault(count["label"].casefold(), []).append(count["label"])
    for same in by_plain.values():
        if len(same) > 1:
            yield _finding(
                "warn",
                say("labels that differ by case alone: {labels}", labels=_some(same)),
                say("the model is asked to tell apart what means the same"),
                say("write them alike in the data"),
            )


def _balance(facts: Facts) -> Iterator[Finding]:
    balance = facts["balance"]
    if balance is None or facts["task"] in (MULTI_LABEL, SEQUENCE, ANSWERS):
        return
    share, ratio = balance["largest_share"], balance["ratio"] or 0
    if share >= ONE_SIDED:
        what = say("'{label}' is {share} of the rows", label=balance["largest"], share=_percent(share))
        why = say("a model that always says so has an accuracy of {share}", share=_percent(share))
        yield _finding("warn", what, why, "--metric macro_f1")
    elif ratio >= UNEVEN:
        labels = {"largest": balance["largest"], "smallest": balance["smallest"], "ratio": f"{ratio:.0f}"}
        what = say("'{largest}' is {ratio} times as common as '{smallest}'", **labels)
        why = say("accuracy hardly shows how well the rare label is found")
        yield _finding("warn", what, why, "--metric macro_f1")


def _amount(facts: Facts) -> Iterator[Finding]:
    if facts["rows"]["train"] < FEW_TRAIN_ROWS:
        yield _finding(
            "warn",
            say("only {count} training rows", count=facts["rows"]["train"]),
            say("the result will depend on the seed more than on most settings"),
            say("label more rows; some hundreds help most"),
        )
    visible = facts["min_visible_drop"].get("test")
    if visible and visible["points"] > COARSE_TEST:
        yield _finding(
            "warn",
            say(
                "{rows} test rows show no drop under {points:.1f} points",
                rows=visible["rows"],
                points=visible["points"],
            ),
            visible["assumes"],
            say("more test rows: four times as many see half the drop"),
        )


def _lengths(facts: Facts) -> Iterator[Finding]:
    tokens = facts["lengths"]["tokens"]
    if tokens and tokens["truncated_share"]:
        share, limit = tokens["truncated_share"], tokens["max_length"]
        what = say("{share} of the rows are longer than {limit} tokens", share=_percent(share), limit=limit)
        why = say("the model does not see their ends; the longest has {longest} tokens", longest=tokens["max"])
        hint = say("a larger max_length where the model has one, or texts cut where they matter least")
        yield _finding("warn" if share >= CUT_SHARE else "info", what, why, hint)


_ODD = {
    "empty": ("warn", "the model has nothing to go by", "remove them, or give them a label of their own"),
    "no letters": ("info", "few models know what to make of them", "look whether they belong here"),
    "control characters": ("warn", "they are left from a wrong conversion", "clean them"),
    "replacement characters": ("warn", "letters were lost in decoding", "read the source again"),
    "HTML": ("info", "the model reads the markup as words", "strip it, here and before serving"),
    "nothing but a link": ("info", "the model cannot open it", "look whether they belong here"),
    "very long": ("info", "they cost most of the time and are cut", "cut or split them"),
}  # fmt: skip


def _odd(facts: Facts) -> Iterator[Finding]:
    for kind, odd in facts["odd"].items():
        level, why, hint = _ODD[kind]
        what = say("{kind}: {share}", kind=say(kind), share=_of(odd["rows"], sum(facts["rows"].values())))
        yield _finding(level, what, say(why), say(hint), odd["examples"])


def _repeated(facts: Facts) -> Iterator[Finding]:
    exact, near = facts["duplicates"]["exact"], facts["duplicates"]["near"]
    total = sum(facts["rows"].values())
    for kind, found in ((say("equal"), exact), (say("nearly equal"), near)):
        rows = sum(found["inside"].values())
        if rows:
            what = say("{kind} to another row of the same split: {share}", kind=kind, share=_of(rows, total))
            why = say("they weigh more than once, and in a test make it look surer than it is")
            inside = [pair for pair in found["examples"] if pair[0]["split"] == pair[1]["split"]]
            yield _finding("warn" if rows >= REPEATED_SHARE * total else "info", what, why, say("keep one"), inside)


def _leaks(facts: Facts) -> Iterator[Finding]:
    exact, near = facts["duplicates"]["exact"], facts["duplicates"]["near"]
    for sides, rows in exact["across"].items():
        if rows:
            earlier, later = sides.split("-")
            share = _of(rows, facts["rows"][later], later)
            what = say("equal to a {earlier} row: {share}", earlier=earlier, share=share)
            why = say("the model is examined on what it has learned by heart")
            yield _finding("error", what, why, say("take them out of one side"), _crossing(exact, sides))
    for sides, rows in near["across"].items():
        if rows:
            earlier, later = sides.split("-")
            share = _of(rows, facts["rows"][later], later)
            what = say("nearly equal to a {earlier} row: {share}", earlier=earlier, share=share)
            why = say("on these rows the score may flatter")
            level = "warn" if rows >= LEAK_SHARE * facts["rows"][later] else "info"
            yield _finding(level, what, why, say("look at them; drop what is one text"), _crossing(near, sides))


def _crossing(found: Facts, sides: str) -> list[Any]:
    wanted = set(sides.split("-"))
    return [pair for pair in found["examples"] if {pair[0]["split"], pair[1]["split"]} == wanted]


def _conflicts(facts: Facts) -> Iterator[Finding]:
    found, total = facts["conflicts"], sum(facts["rows"].values())
    if not found["texts"]:
        return
    what = say("the same text with different targets: {share}", share=_of(found["rows"], total))
    why = say("a model gives one text one answer, so it cannot match them all")
    if found["lost"]:
        lost = _percent(found["lost"] / total)
        why = say("whatever is learned, {rows} of them ({lost} of all) will be wrong", rows=found["lost"], lost=lost)
    level = "warn" if found["rows"] >= CONFLICT_SHARE * total else "info"
    yield _finding(level, what, why, say("decide which is right, or remove both"), found["examples"])


def _languages(facts: Facts) -> Iterator[Finding]:
    known = {
        name: share for name, share in facts["languages"].items() if name != "unknown" and share >= SECOND_LANGUAGE
    }
    if len(known) > 1:
        shown = ", ".join(f"{name} {_percent(share)}" for name, share in known.items())
        what = say("more than one language (a guess): {shown}", shown=shown)
        yield _finding("warn", what, say("a model of one language reads the others badly"), say("a multilingual model"))
    elif known and "en" not in known:
        what = say("the texts are mostly '{name}' (a guess)", name=next(iter(known)))
        yield _finding(
            "info",
            what,
            say("an English model would read them letter by letter"),
            say("a model that knows it"),
        )


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown + (say(" and {count} more", count=len(names) - most) if len(names) > most else "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 or not share else f"{100 * share:.2g} %"


def _of(rows: int, total: int, side: str = "") -> str:
    """'3 of 1,725 test rows'."""
    if side:
        return say("{rows:,} of {total:,} {side} rows", rows=rows, total=total, side=side)
    return say("{rows:,} of {total:,} rows", rows=rows, total=total)
