"""Contact sheets show what is in a build, each feature in its row."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from agfd30k import shards
from builder.common.intervals import wilson
from builder.dataset import contact_sheets, packing
from builder.raw.build import RawBuild
from tests.fixtures.builds import own_table, write_raw


def plain(colour, size=(16, 16)):
    return Image.new("RGB", size, colour)


def colours(sheet, top, left=contact_sheets.LABEL_WIDTH, side=16, count=1):
    """The colours at the middles of a row's pictures."""
    return [sheet.getpixel((left + n * side + side // 2, top + side // 2)) for n in range(count)]


def test_rows_of_pictures_under_each_other():
    red, green, blue = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    sheet = contact_sheets.contact_sheet({"first": [plain(red), plain(green)], "second": [plain(blue)]}, side=16)
    assert sheet.size == (contact_sheets.LABEL_WIDTH + 32, 32)
    assert colours(sheet, 0, count=2) == [red, green]
    assert colours(sheet, 16, count=2) == [blue, (255, 255, 255)]
    label = np.asarray(sheet.crop((0, 0, contact_sheets.LABEL_WIDTH, 16)))
    assert label.min() < 100


def test_columns_are_filled_one_after_the_other():
    rows = {f"row{n}": [plain((n, 0, 0))] for n in range(3)}
    sheet = contact_sheets.contact_sheet(rows, side=16, columns=2)
    width = contact_sheets.LABEL_WIDTH + 16
    assert sheet.size == (2 * width, 32)
    assert [colours(sheet, 0), colours(sheet, 16), colours(sheet, 0, left=width + contact_sheets.LABEL_WIDTH)] == [
        [(0, 0, 0)],
        [(1, 0, 0)],
        [(2, 0, 0)],
    ]


def test_a_picture_that_is_not_square_keeps_its_shape():
    sheet = contact_sheets.contact_sheet({"wide": [plain((9, 9, 9), (32, 16))]}, side=16)
    assert sheet.getpixel((contact_sheets.LABEL_WIDTH + 8, 1)) == (255, 255, 255)
    assert colours(sheet, 0) == [(9, 9, 9)]


@pytest.mark.parametrize(
    ("name", "features", "pictures", "size"),
    [
        ("many", 130, 1, (2 * (150 + 128), 65 * 128)),
        ("many", 300, 1, (3 * (150 + 128), 100 * 128)),
        ("all", 130, 1, (2 * (150 + 128), 65 * 128)),
        ("all", 300, 1, (3 * (150 + 128), 100 * 128)),
        ("all", 3, 1, (2 * (150 + 128), 2 * 128)),
        ("many", 1700, 8, (7 * (150 + 8 * 64), 243 * 64)),
    ],
)
def test_a_sheet_of_many_features_is_not_too_large_to_be_saved(tmp_path, name, features, pictures, size):
    """WebP ends at 16,383 pixels each way."""
    side = 64 if features == 1700 else 128
    rows = {f"feature{n}": [plain((n % 200, 0, 0), (side, side))] * pictures for n in range(features)}
    contact_sheets._save(tmp_path / "sheet.webp", name, rows)
    with Image.open(tmp_path / "sheet.webp") as sheet:
        assert sheet.size == size


def test_a_release_has_a_sheet_for_every_attribute(tmp_path):
    """The sheets are in the card, the same bytes every time, and what is on them is in the build."""
    path, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, path.read_text())
    packing.pack(RawBuild.open(tmp_path / "raw"), tmp_path / "out")
    names = ["all", "drink", "fruit"]
    assert sorted(file.stem for file in (tmp_path / "out/assets").glob("*.webp")) == names
    text = (tmp_path / "out/README.md").read_text()
    assert "](assets/fruit.webp)" in text and "](assets/drink.webp)" in text
    assert Image.open(tmp_path / "out/assets/fruit.webp").size == (
        contact_sheets.LABEL_WIDTH + 8 * contact_sheets.SIDE,
        contact_sheets.SIDE,
    )
    (tmp_path / "again").mkdir()
    made = Counter({("drink", "tea", "train"): 20, ("fruit", "banana", "train"): 20})
    for sheet in contact_sheets.sheets(tmp_path / "again", shards(tmp_path / "raw"), made):
        sheet.write()
    again = {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()}
    assert {f"{name}.webp": (tmp_path / f"out/assets/{name}.webp").read_bytes() for name in names[1:]} == {
        name: data for name, data in again.items() if name != "all.webp"
    }


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"), [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1), (0, 0, 0, 1)]
)
def test_wilson_interval(hits, total, low, high):
    """Known values: at the ends it is z² / (n + z²) wide."""
    assert wilson(hits, total) == pytest.approx((low, high), abs=1e-4)
