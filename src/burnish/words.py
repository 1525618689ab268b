"""Every text a person sees goes through `say`, so that another language is one catalogue away.

The English text is the key: code stays readable, and a missing translation falls back to English.
A catalogue is a JSON file `locale/LANG.json` beside this module, {"English text": "translated text"}.
"""

import json
import os
from functools import cache
from pathlib import Path

__all__ = ["say"]


def say(text: str, /, **values: object) -> str:
    """Translate `text` and fill its `{placeholders}`. The language is `BURNISH_LANG`, else `LANG`.

    The one place in burnish with `**values`: a text and its blanks belong together.
    """
    text = _catalogue(_language()).get(text, text)
    return text.format(**values) if values else text


def _language() -> str:
    return (os.environ.get("BURNISH_LANG") or os.environ.get("LANG") or "en")[:2].lower()


@cache
def _catalogue(language: str) -> dict[str, str]:
    path = Path(__file__).parent / "locale" / f"{language}.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
