"""Addresses: what is one, what is refused, and where this machine works at what lies there."""

from pathlib import Path

import pytest

from builder.common.address import Address, Place
from builder.common.errors import UserError


@pytest.mark.parametrize("text", ["agfd30k-raw", "/tmp/a b", "C:raw", "s3", "./s3:/bucket"])
def test_a_plain_path_is_a_folder_as_it_was(text):
    assert Place.parse(text) == Place(Path(text), None)


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        *[("s3://bucket/faces", "bucket"), ("S3://bucket/a/b/", "bucket"), ("gs://b/x", "b"), ("az://box/x", "box")],
        ("hf://buckets/me/faces/raw", "buckets/me/faces"),
    ],
)
def test_an_address_has_a_bucket(text, bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = Place.parse(text)
    assert place.address and place.address.bucket == bucket and place.folder.parent == tmp_path / "agfd30k"
    assert str(place) == f"{text.partition(':')[0].lower()}://{place.address.path}"


@pytest.mark.parametrize(
    "text",
    [
        *[
            "s3://user:word@bucket/faces",
            "s3://user:a/word@bucket/x",
            "s3://bucket/faces?key=word",
            "s3://word@bucket/x",
            "gs://b/x#word",
        ],
        *["ftp://bucket/x", "s3://", "s3://bucket/../x", "hf://me/faces", "hf://buckets/me", "file:///tmp/x"],
        *["s3://bucket//x", "s3://bucket/a b", "memory://x"],
    ],
)
def test_what_is_no_address_or_holds_a_secret_is_refused_in_a_line_that_does_not_repeat_the_secret(text):
    with pytest.raises(UserError) as error:
        Place.parse(text)
    assert "\n" not in str(error.value) and "word" not in str(error.value).replace("password", "")


def test_two_addresses_have_two_workspaces(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Address.parse("s3://bucket/a-b").workspace != Address.parse("s3://bucket/a/b").workspace
    assert Address.parse("s3://bucket/a/b/").workspace == Address.parse("s3://bucket/a/b").workspace
