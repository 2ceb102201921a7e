"""Pictures to look at: contact sheets of a build, a row for every feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from agfd30k import config_of, read_rows
from builder.raw.receipts import Damaged

LABEL_WIDTH = 150
SIDE = 128
PICTURES = 8
"""Of each feature."""
MOST_SIDE = 16_383
"""Of a WebP picture, in pixels."""
DECODED = 5_000_000
"""Bytes of pictures that are packed in the time in which one is decoded."""
Sheets = dict[str, dict[str, list[Image.Image]]]
"""Small pictures of each feature, by attribute."""


def contact_sheet(rows: Mapping[str, list[Image.Image]], side: int = SIDE, columns: int = 1) -> Image.Image:
    """One picture, RGB: for every name a row of its pictures, each `side` × `side`, in one or more columns."""
    width = LABEL_WIDTH + side * max(map(len, rows.values()))
    height = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * width, height * side), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=18)
    for number, (name, images) in enumerate(rows.items()):
        left, top = number // height * width, number % height * side
        pen.text((left + LABEL_WIDTH - 8, top + side // 2), name, fill="black", font=font, anchor="rm")
        for column, image in enumerate(images):
            sheet.paste(_thumbnail(image, side), (left + LABEL_WIDTH + column * side, top))
    return sheet


@dataclass(frozen=True)
class Sheet:
    """The contact sheet of an attribute, eight pictures of each feature: a task of its own.

    `shards` are the attribute's, in the plan's order; `counts` says how many pictures each feature has.
    """

    folder: Path
    attribute: str
    shards: tuple[Path, ...]
    counts: dict[str, int]

    @property
    def work(self) -> int:
        """Bytes of pictures that take about as long to pack."""
        return DECODED * sum(min(count, PICTURES) for count in self.counts.values())

    def write(self) -> Sheets:
        """Write `<attribute>.webp`; returns of each feature what stands in that of all attributes.

        Raises Damaged for a picture that does not decode.
        """
        images = {feature: list(map(_small, paths)) for feature, paths in self._paths().items()}
        _save(self.folder / f"{self.attribute}.webp", self.attribute, images)
        return {self.attribute: {feature: thumbnails[:4] for feature, thumbnails in images.items()}}

    def _paths(self) -> dict[str, list[Path]]:
        """Return the first pictures of each feature, in the order in which the features come."""
        paths: dict[str, list[Path]] = {}
        left = sum(min(count, PICTURES) for count in self.counts.values())
        for shard in self.shards:
            for row in read_rows(shard) if left else ():
                some = paths.setdefault(row["feature"], [])
                if len(some) < PICTURES:
                    some.append(shard / row["file_name"])
                    left -= 1
        return paths

    def __str__(self) -> str:
        return f"assets/{self.attribute}.webp"


def sheets(folder: Path, shards: Iterable[Path], made: Counter) -> list[Sheet]:
    """Return the sheet of every attribute that has a picture; `made` counts all rows by (attribute, feature, split).

    Pictures are the first of the plan, which takes turns among all kinds of people. `shards` are in the plan's order.
    """
    of: dict[str, list[Path]] = {}
    for shard in shards:
        of.setdefault(config_of(shard), []).append(shard)
    counts: dict[str, dict[str, int]] = {}
    for (attribute, feature, _), count in made.items():
        some = counts.setdefault(attribute, {})
        some[feature] = some.get(feature, 0) + count
    return [Sheet(folder, name, tuple(of[name]), counts[name]) for name in of if name in counts]


def write_all(folder: Path, attributes: Sheets) -> None:
    """Write `all.webp`, of what the attributes' sheets have returned."""
    _save(folder / "all.webp", "all", {name: some for images in attributes.values() for name, some in images.items()})


def _save(path: Path, name: str, rows: dict[str, list[Image.Image]]) -> None:
    side, columns = _layout(len(rows), max(map(len, rows.values())), 2 if name == "all" and len(rows) > 1 else 1)
    contact_sheet(rows, side, columns).save(path, quality=90, method=2)


def _layout(rows: int, pictures: int, least: int) -> tuple[int, int]:
    """Return the side of a picture and how many columns, `least` or more, for a sheet that WebP can hold.

    `pictures` is how many the longest row has. They are smaller than usual only where columns alone do not do.
    """
    side = SIDE
    while (columns := max(least, -(-rows // (MOST_SIDE // side)))) * (LABEL_WIDTH + side * pictures) > MOST_SIDE:
        side //= 2
    return side, columns


def _small(path: Path) -> Image.Image:
    """Return a picture as it stands in a sheet. Raises Damaged for one that does not decode."""
    try:
        with Image.open(path) as image:
            return _thumbnail(image.convert("RGB"), SIDE)
    except Exception as error:  # decoders of damaged files raise anything
        raise Damaged(f"{path}: does not decode ({' '.join(str(error).split())})", path.parent.parent) from None


def _thumbnail(image: Image.Image, side: int) -> Image.Image:
    return image if image.size == (side, side) else ImageOps.pad(image, (side, side), Image.Resampling.BOX, "white")
