"""What is left of each layer of provenance, once a picture was copied, saved anew, scaled, cropped or tampered with.

    python tests/experiments/provenance.py                 # some minutes; prints the tables of docs/provenance.md
    python tests/experiments/provenance.py --write         # and writes them there

makes a signed preview build, does to every picture what `tests/fixtures/reuse.py` says, and asks mark, signature,
digest and hash. Then it counts which other pictures a hash takes for a picture: of the build, and of drawn faces, which
are more alike than photographs.
"""

import argparse
import re
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image

from builder import Signer, generate, pack
from builder.checks.duplicates import numbers, pairs, perceptual_hash
from builder.dataset.lookup import RADIUS, Picture, Rows
from builder.plan.plan import Plan
from builder.raw import provenance, signatures
from builder.spec import table
from drawn_faces.drawing.draw import draw, labels_of
from tests.fixtures import certificates
from tests.fixtures.reuse import CHANGES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/provenance.md"
RADII = (0, 2, 4, 6, 8, 10, 12)
ROWS = 30_000
"""Pictures of a whole release, by which false matches are scaled up."""


class Layers:
    """What each layer says of every picture of a build after every change."""

    def __init__(self, folder, count):
        files = certificates.Files(folder)
        raw = generate(folder / "raw", model="preview", limit=count, signer=Signer.of_files(files.chain, files.key))
        release = pack(raw, folder / "out")
        self.rows = Rows(sorted(release.folder.glob("metadata/*.parquet")))
        self.pictures = {path.stem: path.read_bytes() for path in sorted(raw.folder.glob("shards/*/images/*"))}
        self.anchors = signatures.read_anchors(files.anchors)
        self.place = folder / "picture"
        self.marks, self.states, self.digests = Counter(), Counter(), Counter()
        self.distances = {change: [] for change in CHANGES}
        for change in CHANGES:
            for id, data in self.pictures.items():
                self._ask(change, id, CHANGES[change](data))

    def _ask(self, change, id, data):
        self.place.write_bytes(data)
        picture = Picture(self.place)
        self.marks[change] += provenance.marked_model(picture.image) is not None
        signature = signatures.signature_of(data, signatures.ending_of(data), self.anchors)
        self.states[change, signature.state.value] += 1
        matches = map(self.rows.match, self.rows.places(picture, max(RADII)))
        own = next((match for match in matches if match.id == id), None)
        if own:
            self.digests[change] += own.distance is None
            self.distances[change].append(own.distance or 0)

    def signature(self, change):
        """The states that occur, each with its share where there are several."""
        found = {state: count for (of, state), count in self.states.items() if of == change}
        return ", ".join(state if len(found) == 1 else f"{state} {share(n, self)}" for state, n in found.items())

    def lines(self):
        """The table of layers, in Markdown."""
        yield "| what was done | mark | signature | digest | " + " | ".join(f"≤ {r} bits" for r in RADII) + " |"
        yield "| --- | --- | --- | --- |" + " ---: |" * len(RADII)
        for change, distances in self.distances.items():
            found = [share(sum(d <= radius for d in distances), self) for radius in RADII]
            layers = [share(self.marks[change], self), self.signature(change), share(self.digests[change], self)]
            yield f"| {' | '.join([change, *layers, *found])} |"


def share(count, layers):
    return f"{count / len(layers.pictures):.0%}"


def drawn(count, side=128):
    """Hashes of drawn faces, spread over the table as a build is."""
    plan = Plan(table.load(), limit=count)
    samples = [sample for shard in plan.shards for sample in plan.asked(shard)]
    return [perceptual_hash(draw(labels_of(sample), number, side)) for number, sample in enumerate(samples)]


def false_lines(sources):
    """For each radius, how many other pictures of a whole release a lookup is to find, by pairs of different ones."""
    yield "| other pictures found, of 30,000 | " + " | ".join(f"≤ {radius} bits" for radius in RADII) + " |"
    yield "| --- |" + " ---: |" * len(RADII)
    for name, hashes in sources.items():
        known = numbers(hashes)
        total = len(known) * (len(known) - 1) / 2
        counts = [len(pairs(known, radius)[0]) for radius in RADII]
        yield f"| {name} | " + " | ".join(f"{count / total * ROWS:,.1f}" for count in counts) + " |"


def tables(folder, pictures, others):
    """The page's part that is measured."""
    layers = Layers(folder, pictures)
    hashes = [perceptual_hash(_opened(folder, data)) for data in layers.pictures.values()]
    sources = {f"{len(hashes):,} of the preview": hashes, f"{others:,} drawn faces": drawn(others)}
    yield f"{len(hashes)} pictures of the preview model, signed, 512 by 512 pixels, PNG:"
    yield ""
    yield from layers.lines()
    yield ""
    yield from false_lines(sources)
    yield ""
    yield f"`lookup` takes {RADIUS} bits unless `--radius` says otherwise."


def _opened(folder, data):
    (folder / "picture").write_bytes(data)
    return Image.open(folder / "picture").convert("RGB")


def written(page, lines):
    """A page with these lines in the place of those that were measured before."""
    part = "<!-- measured -->\n" + "\n".join(lines) + "\n<!-- end -->"
    return re.sub("<!-- measured -->.*<!-- end -->", lambda _: part, page, flags=re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=120, help="pictures of the preview build (default: 120)")
    parser.add_argument("--others", type=int, default=4000, help="drawn faces (default: 4000)")
    parser.add_argument("--folder", type=Path, help="where to build (default: a temporary folder)")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/provenance.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        lines = list(tables(Path(folder), arguments.pictures, arguments.others))
    print(*lines, sep="\n")
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")


if __name__ == "__main__":
    main()
