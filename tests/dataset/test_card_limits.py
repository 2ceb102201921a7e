"""The card tells each limit of the checks where it holds."""

from builder.dataset import packing
from builder.raw import recipe as raw_recipe
from builder.spec import table
from tests.fixtures.builds import OWN_TABLE, write_raw

RADII = """
[checks.duplicates]
radius = 3
radius_in_cell = 7

[people]"""
NOTES = [{"name": "duplicates", "version": 1, "model": None}]


def test_the_two_radii_of_duplicates_are_not_confused(tmp_path, monkeypatch):
    """One holds anywhere in the build, the other, which is larger, within a feature and sex."""
    document = raw_recipe.document
    monkeypatch.setattr(raw_recipe, "document", lambda *args, **settings: document(*args, checks=NOTES, **settings))
    toml = OWN_TABLE.replace("\n[people]", RADII, 1)
    (tmp_path / "table.toml").write_text(toml)
    write_raw(tmp_path / "raw", table.load(tmp_path / "table.toml"), toml)
    packing.make(tmp_path / "raw", tmp_path / "out")
    text = " ".join((tmp_path / "out/README.md").read_text().split())
    assert "more than 3 of 64 bits from any other's, more than 7 within a feature and sex" in text
