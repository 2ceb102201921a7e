"""Drawn faces, and copies of them that were planted: which kinds a hash finds at which radius, and at what price.

Drawn faces are more alike than photographs, so the pairs found that are none are an upper bound.
"""

import io
from collections import Counter

import numpy as np
from PIL import Image, ImageChops

from builder import table
from builder.checks.duplicates import numbers, pairs, perceptual_hash
from builder.plan import Plan
from builder.preview.draw import draw, labels_of

RADII = (0, 2, 4, 6, 8, 10, 12)
PICTURES = 30_000
EVERY = 10
"""One in so many pictures has a copy where precision is counted."""


def jpeg(quality):
    def copy(image):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return copy


def crop(share):
    """A copy whose edges, so much of width and height in all, are gone."""

    def copy(image):
        edge = share / 2 * image.width
        return image.resize(image.size, Image.Resampling.BICUBIC, (edge, edge, image.width - edge, image.height - edge))

    return copy


def shift(pixels):
    """A copy shifted to the right by so many pixels of 512; the left edge is repeated."""

    def copy(image):
        step = round(pixels * image.width / 512)
        moved = ImageChops.offset(image, step, 0)
        moved.paste(image.crop((0, 0, 1, image.height)).resize((step, image.height)), (0, 0))
        return moved

    return copy


KINDS = {
    "exact": lambda image: image,
    "JPEG 75": jpeg(75),
    "JPEG 50": jpeg(50),
    "crop 2%": crop(0.02),
    "crop 5%": crop(0.05),
    "crop 10%": crop(0.1),
    "shift 4 px": shift(4),
    "shift 8 px": shift(8),
    "shift 16 px": shift(16),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


class Measured:
    """Hashes of drawn faces, spread over the default table as a build is, and of every kind of copy of each."""

    def __init__(self, count, side):
        self.plan = Plan(table.load(), limit=count)
        samples = [sample for shard in self.plan.shards for sample in self.plan.asked(shard)]
        images = [draw(labels_of(sample), number, side) for number, sample in enumerate(samples)]
        self.cells = [(sample.feature, sample.sex) for sample in samples]
        self.own = numbers([perceptual_hash(image) for image in images])
        self.copies = {kind: numbers([perceptual_hash(copy(i)) for i in images]) for kind, copy in KINDS.items()}

    def recall(self, kind, radius):
        """The share of pictures that are found to be one with their copy of this kind."""
        return float((np.bitwise_count(self.own ^ self.copies[kind]) <= radius).mean())

    def others(self, radius):
        """How many pairs of different pictures are taken for one, and how many of them lie in one cell."""
        first, second, _ = pairs(self.own, radius)
        return len(first), sum(self.cells[i] == self.cells[j] for i, j in zip(first, second))

    def precision(self, radius):
        """The share of pairs found that are planted, where every tenth picture has one copy, all kinds in turn."""
        origin, hashes = list(range(len(self.own))), list(self.own)
        for number, place in enumerate(range(0, len(self.own), EVERY)):
            origin.append(place)
            hashes.append(self.copies[list(KINDS)[number % len(KINDS)]][place])
        first, second, _ = pairs(np.array(hashes, dtype=np.uint64), radius)
        planted = sum(origin[i] == origin[j] for i, j in zip(first, second))
        return planted / len(first) if len(first) else 1.0

    def scaled(self, radius):
        """Pairs of `others`, anywhere and in one cell, as the whole table would have them: by the square."""
        everywhere, within = self.others(radius)
        quotas = Counter({(f.name, sex): f.quota(sex) for f in self.plan.spec.features for sex in ("male", "female")})
        grown = sum(n**2 for n in quotas.values()) / sum(n**2 for n in Counter(self.cells).values())
        return everywhere * (PICTURES / len(self.own)) ** 2, within * grown


def table_lines(measured):
    """Recall by kind and radius, then what each radius finds that is no copy."""
    yield f"{'recall at radius':<28}" + "".join(f"{radius:>10}" for radius in RADII)
    for kind in KINDS:
        yield f"{kind:<28}" + "".join(f"{measured.recall(kind, radius):>10.1%}" for radius in RADII)
    yield f"{'precision':<28}" + "".join(f"{measured.precision(radius):>10.1%}" for radius in RADII)
    rows = {"false pairs": measured.others, "scaled to 30,000": measured.scaled}
    for name, count in rows.items():
        for place, where in enumerate(("", ", in a cell")):
            yield f"{name + where:<28}" + "".join(f"{count(radius)[place]:>10,.0f}" for radius in RADII)


def faults(measured):
    """What the check must be able to do, and cannot, at the radii of the default table: find copies, and not take more
    than a tenth of different pictures for copies, each of which costs a try.
    """
    criteria = table.load().checks.duplicates
    for kind, radius, least in (("exact", criteria.radius, 1.0), ("JPEG 75", criteria.radius_in_cell, 0.9)):
        found = measured.recall(kind, radius)
        if found < least:
            yield f"radius {radius} finds {found:.1%} of copies of kind {kind}"
    everywhere, within = measured.scaled(criteria.radius)
    wrong = everywhere - within + measured.scaled(criteria.radius_in_cell)[1]
    if wrong > PICTURES / 10:
        yield f"radii {criteria.radius} and {criteria.radius_in_cell} make {wrong:,.0f} pairs of {PICTURES:,} pictures"
