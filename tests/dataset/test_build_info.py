"""What a release was built from is one line that gives back what went into it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dataset.build_info import BuildInfo

DIGESTS = st.from_regex(r"(sha256:)?[0-9a-f]{8,64}", fullmatch=True)
INFOS = st.builds(
    BuildInfo,
    rows=DIGESTS,
    recipe=DIGESTS,
    kind=st.sampled_from(["preview", "hub", "folder", "file"]),
    table=st.just("") | DIGESTS,
    calibration=st.just("") | DIGESTS,
    searched=st.booleans(),
    checker=st.just("") | st.text(min_size=1) | st.just("some/checker@c0ffee:model.safetensors sha256:0f --> ,"),
)


@given(INFOS, INFOS, st.text(), st.text())
def test_it_is_found_again_in_any_text(info, other, before, after):
    """The last one that is a line of its own, whatever stands before it."""
    assert BuildInfo.parse(str(info)) == info
    assert BuildInfo.parse(f"{before}\n{info}\n{after}") == info
    assert BuildInfo.parse(f"{other}\n# {other}\n{before}{other}\n{info}\r\n{after} {other}") == info


@given(INFOS, st.text(st.characters().filter(str.isprintable), min_size=1))
def test_a_part_of_a_line_is_none(info, words):
    """A table's words stand within a line, so that they cannot say what a release was built from."""
    for text in (f"{words}{info}", f"{info}{words}", f"| {info} |", f"  title = {{{info}}},"):
        assert BuildInfo.parse(text) is None


@given(st.text())
def test_other_texts_hold_none(text):
    assert BuildInfo.parse(text) is None


def test_that_of_an_older_release_has_no_digest_of_the_table():
    info = BuildInfo.parse("<!-- built from sha256:1, recipe 2, model hub, unsearched -->")
    assert info == BuildInfo(rows="sha256:1", recipe="2", kind="hub", searched=False, format="1")


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"# a dataset of somebody's"])
def test_a_folder_that_is_no_release_has_none(tmp_path, content):
    if content is not None:
        (tmp_path / "README.md").write_bytes(content)
    assert BuildInfo.read(tmp_path) is None
