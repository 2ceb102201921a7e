"""How the checks judge drawn faces and, with --release, the pictures of a release of the preview model.

    python tests/experiments/drawings.py                                   # some minutes; prints the tables
    python tests/experiments/drawings.py --release agfd30k                 # the same for a release's pictures

Drawings are not what the checks are for: this tells how far what they measure carries from photographs to other faces.
What a drawing shows is known, since it was drawn so; what a preview picture shows is what it was asked to, and what the
preview's own verifier saw.
"""

import argparse
import io
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from datasets import Features
from PIL import Image

from builder.plan.plan import Plan
from builder.spec import table
from drawn_faces.drawing.draw import draw, labels_of
from tests.experiments.photographs import Own, judged, rows, share, write

MEASURED = ("left_right", "small_scale", "blurry", "dark", "strong_light")
SIDE = 512


def drawings(each):
    """`each` drawings of every feature, by feature."""
    plan = Plan(table.load())
    found = defaultdict(list)
    for cell in plan.cells:
        for number in range(min(each // 2, cell.chosen)):
            attempt = plan.attempt(plan.at(cell, number), 0)
            picture = draw(labels_of(attempt.sample), attempt.seed % 2**31, SIDE)
            found[cell.feature.name].append(np.asarray(picture.convert("RGB")))
    return found


def pictures(folder):
    """A release's pictures by the feature that they were asked for."""
    found = defaultdict(list)
    for path in sorted(folder.glob("data/*/*.parquet")):
        names = Features.from_arrow_schema(pq.read_schema(path))["feature"]
        for row in pq.read_table(path, columns=["feature", "image"]).to_pylist():
            picture = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
            found[names.int2str(row["feature"])].append(np.asarray(picture))
    return found


def sides(own, some):
    """Which way the detector sees faces look, of those that it finds."""
    yaws = [own.passes("face", pixels, face="profile", smallest_face=0.0).observed.get("yaw") for pixels in some]
    return [yaw for yaw in yaws if yaw is not None]


def faces(found, own):
    """How the face check judges each feature's pictures: a line of the table, and how many it rejects of how many."""
    for name, some in found.items():
        check = own.features[name]
        asked = {"face": check.face, "smallest_face": check.smallest_face}
        verdicts = [own.passes("face", pixels, **asked) for pixels in some]
        yield [
            name,
            check.face,
            share(verdict.observed.get("faces") == 1 for verdict in verdicts),
            share(verdict.passed is False for verdict in verdicts),
        ]


def summary(found, own):
    """What is measured without a model, beside what is shown."""
    plain = found["base"]
    lines = [judged(own, name, found[name], plain) for name in MEASURED]
    yield from rows(["feature", "measured", "passes where it is shown", "of base"], lines)
    yaws = sides(own, found["left_right"])
    yield ""
    yield f"left_right: {share(yaw < 0 for yaw in yaws)} of the faces that are found look to the picture's left."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="drawings of every feature (default: 20)")
    parser.add_argument("--release", type=Path, metavar="FOLDER", help="measure a release's pictures instead")
    parser.add_argument("--write", action="store_true", help="write the first table into docs/labels.md")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    own, found = Own(), pictures(arguments.release) if arguments.release else drawings(arguments.each)
    count = f"{sum(map(len, found.values()))} {'pictures' if arguments.release else 'drawings'}"
    lines = [f"{count} of {len(found)} features. Wilson's 95% intervals.", "", *summary(found, own)]
    print(*lines, "", sep="\n", flush=True)
    print(*rows(["feature", "rule", "one face seen", "rejected"], faces(found, own)), sep="\n")
    if arguments.write:
        write("drawings", lines)


if __name__ == "__main__":
    sys.exit(main())
