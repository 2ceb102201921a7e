"""How alike the twins of a release are, beside pictures of different people that show the same.

    agfd30k generate --model preview --scale 0.02 --twins                  # some ten minutes
    python tests/experiments/twins.py agfd30k --write                      # a minute; prints the tables

Three measures: in how many of 64 bits the perceptual hashes differ; how far the five points of the faces are apart, as
a share of the distance between the eyes, where both faces were found; and the structural similarity of the pictures in
grey at 128 pixels, which is 1 for the same picture. Strangers are a picture of the feature and the twin of another one
of the same feature and sex, that is another person with another seed.
"""

import argparse
import io
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

import agfd30k
from agfd30k import POINTS
from tests.experiments.photographs import rows, write

PAGE = Path(__file__).parents[2] / "docs" / "twins.md"
SIDE = 128
COLUMNS = ["id", "twin_of", "feature", "sex", "seed", "perceptual_hash", *POINTS, "image"]


def read(folder):
    """A release's rows by id, each with its picture in grey."""
    found = {}
    for path in sorted(folder.glob("data/*/*.parquet")):
        with pq.ParquetFile(path) as file:
            names = agfd30k.class_names(file.schema_arrow)
            for batch in file.iter_batches(16, columns=COLUMNS):
                for row in batch.to_pylist():
                    image = Image.open(io.BytesIO(row.pop("image")["bytes"])).convert("L").resize((SIDE, SIDE))
                    labels = {name: names[name][row[name]] for name in ("feature", "sex")}
                    found[row["id"]] = {**row, **labels, "grey": np.asarray(image, dtype=np.float64)}
    return found


def similarity(one, other):
    """Structural similarity of two pictures, (n, n), 0 to 255. Source: Wang et al., Image quality assessment, 2004."""

    def blurred(values):
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    means = blurred(one), blurred(other)
    variances = [blurred(values * values) - mean * mean for values, mean in zip((one, other), means)]
    covariance = blurred(one * other) - means[0] * means[1]
    light, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * means[0] * means[1] + light) * (2 * covariance + contrast)
    below = (means[0] ** 2 + means[1] ** 2 + light) * (sum(variances) + contrast)
    return float((top / below).mean())


def distance(one, other):
    """How far two faces' points are apart, as a share of the first one's distance between the eyes; None without."""
    faces = [np.array([row[name] for name in POINTS], dtype=float).reshape(5, 2) for row in (one, other)]
    between = np.linalg.norm(faces[0][1] - faces[0][0])
    apart = np.linalg.norm(faces[0] - faces[1], axis=1).mean() / between
    return None if np.isnan(apart) else float(apart)


def bits(one, other):
    """In how many bits two pictures' hashes differ."""
    return (int(one["perceptual_hash"], 16) ^ int(other["perceptual_hash"], 16)).bit_count()


def measures(pairs):
    """Medians of the three measures, and how many pairs have points."""
    apart = [value for pair in pairs if (value := distance(*pair)) is not None]
    return [
        f"{np.median([bits(*pair) for pair in pairs]):.0f}",
        f"{np.median([similarity(one['grey'], other['grey']) for one, other in pairs]):.2f}",
        f"{np.median(apart):.2f}" if apart else "-",
        f"{len(apart):,}",
    ]


def strangers(pairs):
    """Every picture with the twin of the next one of its feature and sex."""
    cells = defaultdict(list)
    for one, twin in pairs:
        cells[one["feature"], one["sex"]].append((one, twin))
    groups = (own for own in cells.values() if len(own) > 1)
    return [(own[n][0], own[(n + 1) % len(own)][1]) for own in groups for n in range(len(own))]


def tables(found):
    """Two tables: of all pairs, and of each feature."""
    pairs = [(found[row["twin_of"]], row) for row in found.values() if row["twin_of"] in found]
    same = [(one, twin) for one, twin in pairs if one["seed"] == twin["seed"]]
    heads = ["pairs", "number", "bits of 64", "similarity", "points apart", "with points"]
    kinds = {"twins": pairs, "twins of the same seed": same, "strangers": strangers(pairs)}
    yield from rows(heads, [[name, f"{len(some):,}", *measures(some)] for name, some in kinds.items()])
    yield ""
    by = defaultdict(list)
    for one, twin in same:
        by[one["feature"]].append((one, twin))
    lines = [[name, f"{len(some):,}", *measures(some)] for name, some in by.items()]
    yield from rows(["feature", *heads[1:]], sorted(lines, key=lambda line: -float(line[3])))


def main(arguments=None):
    """Print the tables, and write them into docs/twins.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path, help="a release with twins")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/twins.md")
    options = parser.parse_args(arguments)
    lines = [*tables(read(options.release))]
    print("\n".join(lines))
    if options.write:
        write("likeness", lines, PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
