"""Values against the types of their fields, both as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import UsageError
from burnish.settings import admit, json_schema


def technique(value, where):
    return {"use": value}


def read(value, type_):
    return admit(value, type_, "where", technique)


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("3", "int", 3),
        ("1e-5", "float", 1e-5),
        (3, "float", 3.0),
        ("true", "bool", True),
        ("off", "bool", False),
        ("none", "int | None", None),
        ("7", "int | None", 7),
        ("none", "str | None", None),
        ("cosine", "str", "cosine"),
        ("3", "str", "3"),
        ("auto", "float | str", "auto"),
        ("0.5", "float | str", 0.5),
        ("cosine", "Literal['linear', 'cosine']", "cosine"),
        ("4", "Literal[2, 4, 8]", 4),
        ("0,2,5", "tuple[int, ...]", (0, 2, 5)),
        ([0, 2], "tuple[int, ...]", (0, 2)),
        ("", "tuple[int, ...]", ()),
        ([1, "a"], "tuple[int, str]", (1, "a")),
        ({"a": "1"}, "Mapping[str, int]", {"a": 1}),
        ("tune/rdrop", "Tweak", {"use": "tune/rdrop"}),
        (["tune/rdrop"], "tuple[Tweak, ...]", ({"use": "tune/rdrop"},)),
    ],
)
def test_a_value_is_read_as_its_type_asks(text, type_, value):
    found = read(text, type_)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("abc", "int"),
        (1.5, "int"),
        (True, "int"),
        (True, "float"),
        ("nan", "float"),
        ("inf", "float"),
        (1, "bool"),
        ("maybe", "bool"),
        (False, "str"),
        (None, "int"),
        ("linaer", "Literal['linear', 'cosine']"),
        (True, "Literal[1, 2]"),
        ([1, 2, 3], "tuple[int, int]"),
        (3, "tuple[int, ...]"),
        ([1, "x"], "tuple[int, ...]"),
    ],
)
def test_a_value_of_another_type_is_refused_with_all_three_parts(value, type_):
    with pytest.raises(UsageError, match=r"(?s)where.*expected: .*try: "):
        read(value, type_)


def test_a_misspelt_choice_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'linear'"):
        read("linaer", "Literal['linear', 'cosine'] | None")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none())
def test_a_plain_value_survives_the_command_line(value):
    kind = "None" if value is None else type(value).__name__
    assert read(str(value), f"{kind} | None") == value


def test_json_schema_of_a_union_lists_its_members():
    assert json_schema("float | None") == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert json_schema("tuple[int, ...]") == {"type": "array", "items": {"type": "integer"}}
