"""Let a model look at the pictures of a release; what it sees becomes a config of its own, beside the others.

No picture and no other Parquet file is touched. The release is as it was until everything is there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli
from builder.common.errors import UserError


def annotate(
    annotator: Annotated[
        str, typer.Option("--with", metavar="NAME", help="what annotates: mediapipe, or module:function of yours")
    ],
    release: Annotated[
        str, typer.Argument(help="a release folder, or a dataset on the Hub: owner/name or owner/name@revision")
    ] = "agfd30k",
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the model's file; mediapipe needs its face_landmarker.task")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="where a dataset of the Hub is downloaded to", show_default="a folder of its name"
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", parser=cli.whole(1, 10_000), help="pictures that are looked at together")
    ] = 32,
) -> None:
    """Add a model's annotations to a release: the config `annotations_NAME`, without pictures, joined by `id`.

    A dataset on the Hub is downloaded first, and `agfd30k upload` sends what is new. Run it again to replace
    annotations of the same name, or after a stop.
    """
    from builder.annotation import annotate as annotation
    from builder.annotation.annotator import load

    with cli.terminable(), load(annotator, model) as loaded:
        print(annotation.annotate(_folder(release, out), loaded, batch_size))


def _folder(release: str, out: Path | None) -> Path:
    """Return the release folder, which a dataset of the Hub is downloaded to."""
    folder = Path(release)
    dataset = cli.HUB_ID.fullmatch(release)
    if folder.exists() or not dataset:
        if out:
            raise UserError(f"--out: {release} is a folder, and is annotated where it is")
        return folder
    from builder.hub import snapshot

    return snapshot.download(dataset[1], dataset[2], out or Path(dataset[1].partition("/")[2]))


COMMAND = cli.Command(
    annotate,
    [
        "agfd30k annotate agfd30k --with mediapipe --model face_landmarker.task",
        "agfd30k annotate you/AGFD-30K --with my_module:my_annotator",
    ],
    stopped="stopped, the release is as it was",
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
