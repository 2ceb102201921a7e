"""JSON is read strictly: whatever a file holds, it is what it should be or one kind of error, in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.common import documents
from builder.common.documents import Document, Malformed


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b"[" * 300 + b"]" * 300,
        b'{"a":' * 100_000,
        b'"\\ud800"',
        b'["\\udc00\\ud800"]',
        b'"\xff"',
        b"NaN",
        b"[-Infinity]",
        b"1e400",
        b"1" * 5000,
        b'{"a": 1, "a": 1}',
        b'[{"b": {"a": 1, "a": 2}}]',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"",
        b"\0" * 500,
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_strict_json_is_one_line(text):
    """Too deep, half a surrogate pair, no number, a key that stands twice, another encoding: never another error."""
    with pytest.raises(Malformed) as error:
        documents.parse(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


TEXT = st.text(st.characters(codec="utf-8"))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20))
def test_what_json_writes_is_read_back(value):
    assert documents.parse(json.dumps(value).encode()) == value
    assert documents.parse(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


class Point(Document):
    x: int
    y: float
    name: str | None
    digest: str


POINT = documents.sealed({"x": 1, "y": 2.5, "name": "é"})


def test_an_object_is_read_as_a_value_however_it_is_written():
    for text in (json.dumps(POINT), json.dumps(POINT, indent=2, ensure_ascii=False).replace("\n", "\r\n")):
        assert documents.parse_sealed(Point, text.encode()).name == "é"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": 1.0}, "`x`: "),
        ({"x": "1"}, "`x`: "),
        ({"x": True}, "`x`: "),
        ({"y": "2.5"}, "`y`: "),
        ({"name": 5}, "`name`: "),
        ({"z": 1}, "`z`: extra inputs are not permitted"),
        ({"y": 3.5}, "was edited"),
        ({"y": 2}, "was edited"),
        ({"digest": "0" * 16}, "was edited"),
        ({"digest": None}, "`digest`: "),
    ],
)
def test_another_type_another_key_and_an_edit_are_found(change, message):
    """A word in place of a number is found by its type, another number by the digest."""
    with pytest.raises(Malformed, match=message) as error:
        documents.parse_sealed(Point, json.dumps({**POINT, **change}).encode())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', "{}"])
def test_what_is_no_such_object_is_named(text):
    with pytest.raises(Malformed):
        documents.parse_sealed(Point, text.encode())
