"""'30MB', '90s' and '10ms' as numbers. A number without its unit is refused: 30 what?"""

import re
from collections.abc import Mapping

from burnish.errors import UsageError, problem
from burnish.words import say

__all__ = ["parse_bytes", "parse_milliseconds", "parse_seconds"]

BYTES: Mapping[str, float] = {
    "b": 1,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
SECONDS: Mapping[str, float] = {"ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
MILLISECONDS: Mapping[str, float] = {"us": 1e-3, "ms": 1, "s": 1000}


def parse_bytes(text: str) -> int:
    """Bytes: decimal (kB, MB, GB) or binary (KiB, MiB, GiB), upper or lower case.

    >>> parse_bytes("30MB"), parse_bytes("1.5 GiB")
    (30000000, 1610612736)
    """
    return round(_amount(text, BYTES, say("a size, such as 30MB or 30MiB"), "30MB"))


def parse_seconds(text: str) -> float:
    """Seconds, from one amount or several: 90s, 20m, 1h, 1h30m.

    >>> parse_seconds("20m"), parse_seconds("1h30m")
    (1200.0, 5400.0)
    """
    expected = say("a time, such as 90s, 20m or 1h30m")
    parts = re.findall(r"[^a-zA-Z]+[a-zA-Z]+", text) if re.fullmatch(r"(\s*[\d.]+\s*[a-zA-Z]+)+", text) else [text]
    return sum(_amount(part, SECONDS, expected, "20m") for part in parts)


def parse_milliseconds(text: str) -> float:
    """Milliseconds: 10ms, 500us, 0.2s."""
    return _amount(text, MILLISECONDS, say("a time, such as 10ms"), "10ms")


def _amount(text: str, units: Mapping[str, float], expected: str, example: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*", text)
    given = say("'{text}' cannot be read", text=text)
    if not found:
        raise UsageError(problem(given, expected, example))
    number, unit = found.groups()
    if not unit:
        likely = example.lstrip("0123456789.")
        raise UsageError(
            problem(
                say("'{text}' has no unit", text=text),
                expected,
                say("{a}, if you mean that", a=number + likely),
            )
        )
    if unit.lower() not in units:
        known = ", ".join(units)
        raise UsageError(problem(given, f"{expected}; {say('units: {known}', known=known)}", example))
    amount = float(number) * units[unit.lower()]
    if amount <= 0:
        raise UsageError(problem(say("'{text}' is nothing", text=text), expected, example))
    return amount
