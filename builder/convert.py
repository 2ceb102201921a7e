"""Turn pickled weights into safetensors, which this tool loads: for those who trust where they come from.

Pickles can hold code. They are read in a process of its own that may run none, without network and within limits, and
the result is compared with them, every weight bit for bit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli

SHOWN = 10
"""How many files that were left out are named."""


def convert(
    model: Annotated[
        Path,
        typer.Argument(help="a diffusers or transformers folder with .bin files, or a .ckpt, .bin, .pt or .pth file"),
    ],
    out: Annotated[Path, typer.Argument(help="where the result goes: a new folder, or a new .safetensors file")],
) -> int:
    """Turn a local model's pickled weights into safetensors, without running what else a pickle may hold.

    Weights, json and txt files of a folder are in the result, and nothing else, code least of all. A file that holds
    more than weights is refused. Nothing is downloaded: `hf download OWNER/NAME --local-dir FOLDER` gets a model of the
    Hub.
    """
    from builder.models import conversion
    from builder.models.source import local_path

    def say(line: str) -> None:
        print(line, flush=True)

    done = conversion.convert(local_path(str(model)), out, say)
    if done.left_out:
        more = f" and {len(done.left_out) - SHOWN} more" if len(done.left_out) > SHOWN else ""
        say(f"not in the result: {', '.join(done.left_out[:SHOWN])}{more}")
    tensors, size = (sum(getattr(file, what) for file in done.converted) for what in ("tensors", "bytes"))
    copied = f", {len(done.copied)} other files copied" if done.copied else ""
    files = "1 file" if len(done.converted) == 1 else f"{len(done.converted)} files"
    say(f"{files} converted, {tensors:,} tensors, {size:,} bytes{copied}: {out}")
    return 0


COMMAND = cli.Command(
    convert, ["agfd30k convert Realistic_Vision_V2.0 converted", "agfd30k convert model.ckpt model.safetensors"]
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
