"""Publish a release. Run it again after a stop: it goes on.

Checked before, whole at every moment, read back after: the card comes with the last commit, and a new dataset stays
private until it was loaded back from the Hub. A file that is changed meanwhile ends it before the next commit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from builder.common import cli


def _repo_id(text: str) -> str:
    """The name of a dataset on the Hub, as the Hub allows it."""
    from builder.hub.publisher import repo_id_fault

    if fault := repo_id_fault(text):
        raise typer.BadParameter(fault)
    return text


def upload(
    folder: Annotated[Path, typer.Argument(help="the release folder")],
    repo_id: Annotated[str, typer.Option(metavar="OWNER/NAME", parser=_repo_id, help="the dataset on the Hub")],
    revision: Annotated[
        str,
        typer.Option(
            metavar="BRANCH",
            help="branch to send to, made if need be; a replacement is only whole with its last commit",
        ),
    ] = "main",
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="send it as a pull request, or go on in one left open by a stop")
    ] = False,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="tag for the commit, once it is verified")] = None,
    public: Annotated[
        bool, typer.Option("--public", help="let everyone see it, once it is verified; else a new one is private")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="check the folder and print what would be sent; no network but with --append"),
    ] = False,
    verify_only: Annotated[
        bool, typer.Option("--verify-only", help="compare what is on the Hub with the folder, and load it back")
    ] = False,
    thorough: cli.Thorough = False,
    allow_preview: Annotated[bool, typer.Option("--allow-preview", help="send pictures of the preview model")] = False,
    allow_incomplete: Annotated[
        bool, typer.Option("--allow-incomplete", help="send it although features lack pictures")
    ] = False,
    append: Annotated[
        bool,
        typer.Option(
            "--append", help="add the rows that the dataset there lacks, as new files; what is there stays as it is"
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="replace a dataset that this tool did not make, or an edited card")
    ] = False,
) -> None:
    """Publish a release folder on the Hugging Face Hub: lint, upload, load it back, then tag and make public."""
    from builder.dataset.folder import sweep
    from builder.hub.appender import Appender
    from builder.hub.publisher import PublishConfig, Publisher

    sweep(folder)

    config = PublishConfig(
        folder=folder,
        repo_id=repo_id,
        revision=revision,
        create_pr=create_pr,
        tag=tag,
        public=public,
        dry_run=dry_run,
        verify_only=verify_only,
        thorough=thorough,
        allow_preview=allow_preview,
        allow_incomplete=allow_incomplete,
        force=force,
        append=append,
    )
    (Appender if append else Publisher)(config).run()


COMMAND = cli.Command(
    upload,
    [
        "agfd30k upload agfd30k --repo-id you/AGFD-30K --tag v1.0.0 --public",
        "agfd30k upload agfd30k --repo-id you/AGFD-30K --append --tag v1.1.0",
    ],
    stopped="stopped; run it again to go on: what has arrived is not sent again",
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
