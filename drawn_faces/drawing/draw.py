"""Draws the face that labels ask for: the planted truth that a preview model is trained and checked on.

`python -m drawn_faces.drawing.draw --out sheet.png` writes a contact sheet with a row for every feature. A drawing is a
function of (labels, seed, size, obey): the same bytes every time, and the same composition at every size.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from builder.common import cli
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.dataset.contact_sheets import contact_sheet
from builder.spec.spec import SEXES
from drawn_faces.drawing import (
    beards_and_earrings,
    clothes,
    face,
    glasses,
    hair,
    hands,
    hats,
    head,
    makeup,
    masks,
    profile,
    scene,
)
from drawn_faces.drawing.canvas import Canvas, Pen, darker, mix
from drawn_faces.drawing.person import TONES, Look
from drawn_faces.drawing.variants import FEATURES, Labels, look_of

AGES = {"child": (1, 3), "teenager": (8, 15), "young_adult": (25, 35), "old_adult": (45, 55), "old": (60, 80, 100)}
"""Ages that the default table asks for; all other features have those of ADULTS."""
ADULTS = (25, 35, 45, 55)
__all__ = ["FEATURES", "Labels", "draw", "labels_of", "look_of", "sheet"]


def labels_of(sample) -> Labels:
    """The labels of a sample of a plan (`builder.plan.sample.Sample`)."""
    return Labels(sample.feature, sample.sex, sample.ethnicity, sample.age, sample.phrase)


def draw(labels: Labels, seed: int, size: int = 512, obey: bool = True) -> Image.Image:
    """An RGB picture, size × size, that shows the labels; with `obey` False all of them but the feature."""
    return render(look_of(labels, seed, obey), size)


def render(look: Look, size: int) -> Image.Image:
    """The picture of a look."""
    canvas = Canvas(size)
    scene.backdrop(canvas, look)
    upright = Pen.on(canvas).at(look.x, look.y, look.scale, flip=look.pose == "left")
    pen = upright.at(0, 0, angle=look.tilt)
    if look.pose in ("left", "right"):
        _from_the_side(upright, pen, look)
    else:
        _from_the_front(upright, pen, look)
    scene.foreground(canvas, look)
    return scene.finish(canvas.finish(), look)


def _from_the_side(upright: Pen, pen: Pen, look: Look) -> None:
    profile.neck(pen, look)
    clothes.body(upright.at(-0.22, 0), look)
    profile.profile(pen, look)


def _from_the_front(upright: Pen, pen: Pen, look: Look) -> None:
    shown = head.tilted_back(look) if look.pose == "up" else look
    if look.light == "behind":
        _rim(pen, look)
    hair.behind(pen, look)
    clothes.body(upright, look)
    head.bare_head(pen, shown)
    makeup.under(pen, shown)
    face.face(pen, shown)
    makeup.over(pen, shown)
    beards_and_earrings.beard(pen, shown)
    if look.light == "hard":
        _half_shadow(pen, look)
    hair.over(pen, shown)
    beards_and_earrings.earrings(pen, shown)
    masks.mask(pen, shown)
    glasses.glasses(pen, shown)
    hats.hat(pen, shown)
    hands.hands(pen, shown)


def _rim(pen: Pen, look: Look) -> None:
    """The bright edge of a head before the sun."""
    pen.ellipse(0, -0.15, look.width + 0.3, 1.25, (255, 252, 225), 0.85)


def _half_shadow(pen: Pen, look: Look) -> None:
    """The sharp shadow of hard sunlight on the far half of the face."""
    s = -look.lit
    with pen.clip(head.outline(look)):
        shape = [
            (s * -0.05, -1.1),
            (s * 0.04, -0.3),
            (s * 0.14, 0.3),
            (s * 0.02, 0.5),
            (s * 0.08, 1.1),
            (s * 1.2, 1.1),
            (s * 1.2, -1.1),
        ]
        pen.polygon(shape, darker(mix(look.skin, (60, 20, 30), 0.3), 0.6), 0.55)
        pen.polygon([(-x, y) for x, y in shape], (255, 252, 235), 0.3)


def sheet(
    per: int = 6, size: int = 192, seed: int = 0, obey: bool = True, only: tuple[str, ...] = FEATURES
) -> Image.Image:
    """A row of drawings for each feature, with its name; sexes, ages and ethnicities are mixed."""
    rows = {}
    for feature in only:
        rows[feature] = []
        for column in range(per):
            number = seed + FEATURES.index(feature) * 1000 + column
            rng = np.random.default_rng([number, 12])
            age = int(rng.choice(AGES.get(feature, ADULTS)))
            labels = Labels(feature, SEXES[column % 2], str(rng.choice(list(TONES))), age)
            rows[feature].append(draw(labels, number, size, obey))
    return contact_sheet(rows, size)


def write_sheet(
    out: Annotated[Path, typer.Option(metavar="FILE", help="the PNG file to write")],
    per: Annotated[int, typer.Option(metavar="N", parser=cli.whole(1, 100), help="drawings in a row")] = 6,
    size: Annotated[
        int, typer.Option(metavar="PIXELS", parser=cli.whole(1, 2048), help="width and height of a drawing")
    ] = 192,
    seed: Annotated[int, typer.Option(metavar="N", parser=cli.whole(0), help="another number, other people")] = 0,
    only: Annotated[list[str] | None, typer.Option(metavar="FEATURE", help="rows to draw; else all")] = None,
    disobey: Annotated[bool, typer.Option("--disobey", help="draw everything but the features")] = False,
) -> None:
    """Write a contact sheet of drawn faces: a row for every feature, with its name."""
    if out.suffix.lower() != ".png" or not out.parent.is_dir():
        raise UserError(f"--out must be a .png file in a folder that is there, got {out}")
    chosen = cli.words(only) or tuple(FEATURES)
    if unknown := [name for name in chosen if name not in FEATURES]:
        raise UserError(f"--only must be of {', '.join(FEATURES)}, got {unknown[0]}")
    drawn = sheet(per, size, seed, not disobey, chosen)
    with atomic(out) as file:
        drawn.save(file, format="PNG")


PROGRAM = "python -m drawn_faces.drawing.draw"
COMMAND = cli.Command(write_sheet, [f"{PROGRAM} --out sheet.png --per 8 --size 128"], program=PROGRAM)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
