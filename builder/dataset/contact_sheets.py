"""Pictures to look at: contact sheets of a build, a row for every feature."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from agfd30k import read_rows
from builder.raw.receipts import Damaged

LABEL_WIDTH = 150
SIDE = 128
MOST_SIDE = 16_383
"""Of a WebP picture, in pixels."""


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


def write_sheets(folder: Path, shards: list[Path]) -> list[str]:
    """Write `<attribute>.webp` with eight pictures of each feature, and `all.webp` with four; returns the names.

    An attribute of which every picture was given up has none.
    They are the first of the plan, which takes turns among all kinds of people. `shards` are in the plan's order.
    """
    attributes: dict[str, dict[str, list[Path]]] = {}
    for shard in shards:
        for row in read_rows(shard):
            paths = attributes.setdefault(row["attribute"], {}).setdefault(row["feature"], [])
            if len(paths) < 8:
                paths.append(shard / row["file_name"])
    with ThreadPoolExecutor() as pool:
        rows = {name: pool.map(_small, paths) for features in attributes.values() for name, paths in features.items()}
        images = {name: list(thumbnails) for name, thumbnails in rows.items()}
        sheets = {attribute: {name: images[name] for name in features} for attribute, features in attributes.items()}
        sheets["all"] = {name: thumbnails[:4] for name, thumbnails in images.items()}
        for _ in pool.map(lambda name: _save(folder / f"{name}.webp", name, sheets[name]), sheets):
            pass
    return list(sheets)


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
