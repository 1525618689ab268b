"""Folders and hub sets -> rows: text files, one folder a class; and what `datasets` saved or hosts."""

from pathlib import Path
from typing import Any

from burnish.data.formats import SHOWN, decode
from burnish.data.table import Parsed
from burnish.errors import DataError, Missing, problem
from burnish.words import say

__all__ = ["is_saved_dataset", "parse_hub", "parse_saved_dataset", "parse_text_folder", "text_files"]

TEXT_SUFFIXES = ("", ".txt", ".text", ".md")
# Single files in another encoding are common in scraped folders, and one letter in them is at stake; but
# beyond this share the folder as a whole is in another encoding, and guessing would spoil all of it.
ODD_ENCODING_SHARE = 0.01


def text_files(folder: Path) -> list[Path]:
    """Files one level down that may be texts, sorted; hidden ones are not looked at."""
    return sorted(p for p in folder.glob("*/*") if p.is_file() and not any(x.startswith(".") for x in p.parts[-2:]))


def parse_text_folder(folder: Path, contents: dict[Path, bytes]) -> Parsed:
    """Columns text and label, the label being the name of the folder that the file lies in.

    A file that is not UTF-8 is read as Windows-1252 and named in the notes, as long as such files are few.
    Raises DataError for files of other kinds and when many files are not UTF-8.
    """
    other = [path for path in contents if path.suffix.lower() not in TEXT_SUFFIXES]
    if other:
        shown = ", ".join(str(path.relative_to(folder)) for path in other[:SHOWN])
        given = say("{folder} holds files that are not text: {shown}", folder=folder, shown=shown)
        raise DataError(problem(given, say("one folder a class, with .txt files in it"), say("move them elsewhere")))
    rows, odd = [], []
    for path, content in contents.items():
        text, fits = _decoded(path, content)
        rows.append({"text": text, "label": path.parent.name})
        odd += [] if fits else [path]
    if len(odd) > max(1, ODD_ENCODING_SHARE * len(contents)):
        decode(contents[odd[0]], str(odd[0]))  # raises, and says how to convert
    notes = tuple(
        say("{path} is not UTF-8 and was read as Windows-1252", path=path.relative_to(folder)) for path in odd
    )
    return Parsed(("text", "label"), rows, notes=notes)


def _decoded(path: Path, content: bytes) -> tuple[str, bool]:
    """(text, whether it was UTF-8). Raises DataError when it is neither UTF-8 nor Windows-1252."""
    try:
        return decode(content, str(path)), True
    except DataError:
        try:
            return content.decode("cp1252"), False
        except UnicodeDecodeError:
            pass
        raise


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` made this folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def parse_saved_dataset(folder: Path, split: str | None) -> Parsed:
    """What `save_to_disk` wrote; of several splits the one asked for, else train."""
    datasets = _datasets(str(folder))
    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        given = say("{folder} could not be read as a saved data set: {error}", folder=folder, error=error)
        raise DataError(problem(given, say("a folder that `save_to_disk` made"), say("save it again"))) from error
    return _rows_of(_one_split(found, split, str(folder)))


def parse_hub(name: str, split: str | None) -> Parsed:
    """A data set of the hub by its id. Raises DataError when there is none, Missing without the hub."""
    datasets = _datasets(name)
    try:
        found = datasets.load_dataset(name)
    except datasets.exceptions.DatasetNotFoundError as error:
        given = say("'{name}' is neither a file or folder here nor a data set of the hub", name=name)
        raise DataError(
            problem(given, say("a path, or an id such as owner/name"), say("check the spelling"))
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).split("\n")[0]
        given = say("'{name}' is not a file here, and the hub did not give it: {error}", name=name, error=first)
        hint = say("check the path, or download the set where there is a network")
        raise Missing(problem(given, say("a path, or a hub that can be reached"), hint)) from error
    return _rows_of(_one_split(found, split, name))


def _datasets(source: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        given = say("'{source}' is not a file; as a data set it needs the package datasets", source=source)
        raise Missing(problem(given, say("a file, or that package"), "pip install 'burnish[hub]'")) from error
    return datasets


def _one_split(found: Any, split: str | None, source: str) -> Any:
    """A DatasetDict's split; a single Dataset is itself."""
    if not isinstance(found, dict):
        return found
    wanted = split or ("train" if len(found) > 1 else next(iter(found)))
    if wanted not in found:
        given = say("{source} has no split '{wanted}'", source=source, wanted=wanted)
        expected = say("one of: {known}", known=", ".join(found))
        raise DataError(problem(given, expected, f"{source}:{next(iter(found))}"))
    return found[wanted]


def _rows_of(dataset: Any) -> Parsed:
    """Rows of a Dataset, with class numbers replaced by their names."""
    rows = dataset.to_list()
    for column, feature in dataset.features.items():
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        if names:
            for row in rows:
                row[column] = _named(row[column], names)
    return Parsed(tuple(dataset.column_names), rows)


def _named(value: Any, names: list[str]) -> Any:
    """-1 stands for 'not given' in hub sets."""
    if isinstance(value, list):
        return [_named(v, names) for v in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
