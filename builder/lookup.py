"""Is this picture one of a release's, and which one? By the digest of the file, then by what the picture looks like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError

if TYPE_CHECKING:
    from builder.dataset.lookup import Picture, Rows

MOST = 20
"""Candidates that are shown."""


def lookup(
    picture: Annotated[Path, typer.Argument(help="the picture's file")],
    release: Annotated[
        str, typer.Argument(help="a release folder, or a dataset on the Hub: owner/name or owner/name@revision")
    ] = "agfd30k",
    radius: Annotated[
        int,
        typer.Option(
            metavar="BITS",
            parser=cli.whole(0, 20),
            help="how many of the 64 bits of the perceptual hash may differ; 0 finds the file and its equals alone",
        ),
    ] = 6,
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="certificates of the authorities that you trust, PEM, for the signature"),
    ] = None,
) -> int:
    """Find a picture in a release: its id, prompt, seed and model, and what its file says of itself.

    It is looked for by the digest of the file, then by a perceptual hash, nearest first. Only the release's labels are
    read, and of a dataset on the Hub only these are downloaded. A match by hash is a likeness, no proof.

    Exit status 0 where it was found, 1 where it was not, 2 where nothing could be looked up.
    """
    from builder.dataset.lookup import Picture

    file, rows = Picture(picture), _rows(release)
    print(f"{picture}: {_mark(file)}; {_signature(file, trust)}")
    places = rows.places(file, radius)
    for place in places[:MOST]:
        print(rows.match(place))
    if len(places) > MOST:
        print(f"and {len(places) - MOST:,} more within {radius} bits; a smaller --radius finds less")
    if not places:
        print(f"not ours: {_nowhere(release, rows, radius)}")
    if rows.without_hash:
        print(f"rows of {release} without a perceptual hash, found by the very file alone: {rows.without_hash:,}")
    return 0 if places else 1


def _nowhere(release: str, rows: Rows, radius: int) -> str:
    return f"none of the {len(rows):,} pictures of {release} is this file, or within {radius} of 64 bits of it"


def _mark(picture: Picture) -> str:
    """Return what the mark in the file says."""
    from builder.raw import provenance

    model = provenance.marked_model(picture.image)
    return "no mark" if model is None else f"marked as made by {model or 'a model that is not named'}"


def _signature(picture: Picture, trust: Path | None) -> str:
    """Return what the signature in the file says. Raises UserError where it shall be trusted, and cannot be read."""
    from builder.raw import signatures

    if not trust and not signatures.is_installed():
        return "signature not read, which the extra `sign` does"
    anchors, ending = signatures.read_anchors(trust) if trust else "", signatures.ending_of(picture.data)
    if not ending:
        return "signature not read, being neither PNG, WebP nor JPEG"
    return f"it {signatures.signature_of(picture.data, ending, anchors)}"


def _rows(release: str) -> Rows:
    """Return the rows of a release folder, or of a dataset on the Hub."""
    from builder.dataset.lookup import Rows

    folder = Path(release)
    if not folder.exists() and (dataset := cli.HUB_ID.fullmatch(release)):
        from builder.hub import metadata

        folder = metadata.download(*dataset.groups())
    files = sorted(folder.glob("metadata/*.parquet"))
    if files:
        return Rows(files)
    if (folder / "recipe.json").is_file():
        raise UserError(f"{release}: a raw build, not a release; run `agfd30k release --raw {release}` first")
    raise UserError(f"{release}: no release, for it has no metadata/*.parquet; name its folder, or owner/name")


COMMAND = cli.Command(
    lookup, ["agfd30k lookup portrait.jpg agfd30k", "agfd30k lookup portrait.jpg you/AGFD-30K --radius 4"]
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
