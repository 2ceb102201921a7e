"""Pictures to look at: contact sheets of a build, a row for every feature."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from agfd30k import read_rows

LABEL_WIDTH = 150
SIDE = 128


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
    attributes: dict[str, dict[str, list[Image.Image]]] = {}
    for shard in shards:
        for row in read_rows(shard):
            images = attributes.setdefault(row["attribute"], {}).setdefault(row["feature"], [])
            if len(images) < 8:
                with Image.open(shard / row["file_name"]) as image:
                    images.append(_thumbnail(image.convert("RGB"), SIDE))
    for attribute, rows in attributes.items():
        contact_sheet(rows).save(folder / f"{attribute}.webp", quality=90, method=4)
    all_rows = {name: images[:4] for rows in attributes.values() for name, images in rows.items()}
    contact_sheet(all_rows, columns=2 if len(all_rows) > 1 else 1).save(folder / "all.webp", quality=90, method=4)
    return [*attributes, "all"]


def _thumbnail(image: Image.Image, side: int) -> Image.Image:
    return image if image.size == (side, side) else ImageOps.pad(image, (side, side), Image.Resampling.BOX, "white")
