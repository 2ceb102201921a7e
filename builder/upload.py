"""Publish a release: `python builder/upload.py agfd30k --repo-id you/AGFD-30K`. Run it again after a stop: it goes on.

Checked before, whole at every moment, read back after: the card comes with the last commit, and a new dataset stays
private until it was loaded back from the Hub. A file that is changed meanwhile ends it before the next commit.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from builder.common import cli
from builder.common.errors import UserError
from builder.hub import retry
from builder.hub.publisher import PublishConfig, Publisher

REPO_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]{0,95}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser(
        "python builder/upload.py",
        "Publish a release folder on the Hugging Face Hub: lint, upload, load it back, then tag and make public.",
        "python builder/upload.py agfd30k --repo-id you/AGFD-30K --tag v1.0.0 --public",
    )
    option = made.add_argument
    option("folder", metavar="FOLDER", type=Path, help="the release folder")
    option("--repo-id", metavar="OWNER/NAME", type=_repo_id, required=True, help="the dataset on the Hub")
    option(
        "--revision",
        metavar="BRANCH",
        default="main",
        help="branch to send to, made if need be; a replacement is only whole with its last commit",
    )
    option("--create-pr", action="store_true", help="send it as a pull request, or go on in one left open by a stop")
    option("--tag", metavar="NAME", help="tag for the commit, once it is verified")
    option("--public", action="store_true", help="let everyone see it, once it is verified; else a new one is private")
    option("--dry-run", action="store_true", help="check the folder and print what would be sent; no network")
    option("--verify-only", action="store_true", help="compare what is on the Hub with the folder, and load it back")
    option("--thorough", action="store_true", help="decode every picture before sending, not a sample")
    option("--allow-preview", action="store_true", help="send pictures of the preview model")
    option("--allow-incomplete", action="store_true", help="send it although features lack pictures")
    option("--force", action="store_true", help="replace a dataset that this tool did not make, or an edited card")
    return made


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    args = parser().parse_args(argv)
    try:
        if args.create_pr and (args.tag or args.public):
            raise UserError(
                "--create-pr goes with neither --tag nor --public: merge it first, then --verify-only --tag"
            )
        Publisher(PublishConfig(**vars(args))).run()
        return 0
    except UserError as error:
        print(f"upload: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("upload: stopped; run it again to go on: what has arrived is not sent again", file=sys.stderr)
        return 130
    except Exception as error:
        if not (isinstance(error, OSError) or retry.status(error) or retry.is_passing(error)):
            raise
        again = "; run it again to go on" if retry.is_passing(error) else ""
        print(f"upload: {args.repo_id}: {retry.one_line(error)}{again}", file=sys.stderr)
    return 2


def _repo_id(text: str) -> str:
    if not REPO_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"must be owner/name, got {text!r}")
    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise argparse.ArgumentTypeError(f"must be owner/name: {error}") from None
    return text


if __name__ == "__main__":
    sys.exit(main())
