"""Raw build → release folder: script-free Parquet per attribute, metadata and card. `python -m builder.release`.

The same rows give the same bytes. The old release is replaced only by a complete new one, and memory does not grow with
the number of pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

from builder.common import cli
from builder.common.errors import UserError
from builder.dataset.packing import pack, summary
from builder.raw.build import RawBuild


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = cli.parser(
        "python -m builder.release",
        "Make the release folder from a raw build.",
        "python -m builder.release --raw agfd30k-raw --out agfd30k",
    )
    parser.add_argument("--raw", metavar="FOLDER", type=Path, default=Path("agfd30k-raw"), help="the raw build")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, default=Path("agfd30k"), help="the release folder, replaced as a whole"
    )
    parser.add_argument("--partial", action="store_true", help="release what is done of a build that is not complete")
    args = parser.parse_args(argv)
    return cli.status("release", lambda: _release(args.raw, args.out, args.partial))


def _release(folder: Path, out: Path, partial: bool) -> None:
    raw = RawBuild.open(folder)
    left = raw.unfinished()
    if left and not partial:
        raise UserError(
            f"{folder}: {len(left)} shards are not done ({left[0]} first); run the builder again to finish them, "
            "or release what is done with --partial"
        )
    if not (partial or raw.is_searched(raw.finished())):
        raise UserError(
            f"{folder}: duplicates have not been looked for since the last picture was made; run the builder "
            "again, or release what is there with --partial"
        )
    print(summary(pack(raw, out, anew=True)[0], raw.recipe, out))


if __name__ == "__main__":
    sys.exit(main())
