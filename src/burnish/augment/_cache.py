"""Where burnish keeps what took a while to read: BURNISH_CACHE, else the user's cache folder."""

import os
import tempfile
from functools import lru_cache
from pathlib import Path

__all__ = ["cache_folder", "put"]


def cache_folder() -> Path:
    """The folder, made if need be; a temporary one of this process where none can be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return _made(os.environ.get("BURNISH_CACHE") or str(Path(base) / "burnish"))


@lru_cache(maxsize=8)
def _made(place: str) -> Path:
    folder = Path(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass  # a read-only home: slower, not wrong
    return Path(tempfile.mkdtemp(prefix="burnish-"))


def put(path: Path, text: str) -> None:
    """Write whole or not at all: another process may be reading, or writing the same."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)
