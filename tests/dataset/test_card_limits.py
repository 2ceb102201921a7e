"""The card tells each limit of the checks where it holds."""

from builder.dataset import packing
from builder.models.identity import CheckVersion
from builder.raw.build import RawBuild
from builder.spec import table
from tests.fixtures.builds import OWN_TABLE, write_raw

RADII = """
[checks.duplicates]
radius = 3
radius_in_cell = 7

[people]"""


def test_the_two_radii_of_duplicates_are_not_confused(tmp_path):
    """One holds anywhere in the build, the other, which is larger, within a feature and sex."""
    toml = OWN_TABLE.replace("\n[people]", RADII, 1)
    (tmp_path / "table.toml").write_text(toml)
    write_raw(tmp_path / "raw", table.load(tmp_path / "table.toml"), toml, checks=[CheckVersion("duplicates", 1)])
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    text = " ".join((tmp_path / "out/README.md").read_text().split())
    assert "more than 3 of 64 bits from any other's, more than 7 within a feature and sex" in text
