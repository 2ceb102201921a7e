"""Check a raw build against its plan, picture by picture.

Every row must say what the plan and the recipe say, every picture must be the one that was committed and decode, every
receipt must fit its shard.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from builder.common import cli
from builder.common.address import Place
from builder.common.errors import UserError
from builder.engine.choice import Kind, chosen

if TYPE_CHECKING:
    from builder.raw.signatures import Signature
    from builder.raw.verification import ReadSignature


def verify(
    raw: Annotated[
        Place,
        typer.Argument(
            parser=cli.place,
            metavar="RAW",
            help="the raw build, a folder or an address; with --signatures also a release folder",
        ),
    ] = cli.RAW,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="move what is faulty into faulty/ of its shard, so that the next run makes it again"
        ),
    ] = False,
    signatures: Annotated[
        bool,
        typer.Option(
            "--signatures", help="read the signature (C2PA) of every picture; one that does not fit is a fault"
        ),
    ] = False,
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="certificates of the authorities that you trust, PEM, for --signatures"),
    ] = None,
    engine: Annotated[
        Kind | None,
        typer.Option(
            help="who checks the shards: this machine's cores, or a cluster by Ray, at RAY_ADDRESS",
            show_default="here, or ray where RAY_ADDRESS is set and RAW is a folder",
        ),
    ] = None,
) -> int:
    """Check every row, picture and digest of a raw build, and list every fault.

    --signatures counts the pictures whose signature is valid, trusted, expired, tampered with or not there; of a
    release folder it looks at nothing else.

    Exit status 0 for a sound build, 1 where there are faults that --repair has not set aside, 2 where nothing could be
    checked.
    """
    signature = _signature(trust) if signatures else None
    if trust and not signature:
        raise UserError("--trust: belongs to --signatures")
    if raw.address:
        return _stored(raw, repair, signature, trust, engine or Kind.HERE)  # fetched to this machine alone
    if signature and _is_release(raw.folder):
        if repair:
            raise UserError("--repair: mends a raw build, not a release; make the release again with `agfd30k release`")
        if engine:
            raise UserError("--engine: belongs to a raw build; a release is read by one process")
        return _release(raw.folder, signature, trust)
    return _verify(raw.folder, repair, signature, trust, engine)


def _verify(
    raw: Path, repair: bool, signature: ReadSignature | None, trust: Path | None, engine: Kind | None, faults: int = 0
) -> int:
    """Check a folder, in which so many faults are known; returns the exit status."""
    from builder.raw import verification

    found = verification.verify(raw, repair, print, signature, chosen(engine))
    found = replace(found, faults=found.faults + faults)
    print(f"{found.rows} rows, {found.faults} faults" + (", set aside" if repair and found.faults else ""))
    if signature:
        from builder.raw.signatures import counted

        print(counted(found.signatures, trust is not None))
    if found.strangers:
        print(f"folders that are not shards of this plan: {found.strangers}; they must be moved away by hand")
    if found.unfinished:
        print(f"shards of the latest run that are not done: {found.unfinished}; run the builder again to go on")
    return 1 if found.strangers or (found.faults and not repair) else 0


def _signature(trust: Path | None) -> Callable[[bytes, str], Signature]:
    """Return how signatures are read. Raises UserError where the extra is missing, or there is no such list."""
    from builder.raw.signatures import c2pa_library, read_anchors, signature_of

    c2pa_library()
    return functools.partial(signature_of, anchors=read_anchors(trust) if trust else "")


def _stored(raw: Place, repair: bool, signature: ReadSignature | None, trust: Path | None, engine: Kind | None) -> int:
    """Check what lies in a store; returns the exit status."""
    from builder.storage.build import check

    if repair:
        raise UserError(
            "--repair: nothing in a store is ever changed; remove the newest receipt and the part of each faulty shard "
            f"at {raw}, and run the builder again"
        )
    assert raw.address
    faults = check(raw.address)
    for fault in faults:
        print(fault)
    with raw.naming():
        return _verify(raw.folder, False, signature, trust, engine, len(faults))


def _is_release(folder: Path) -> bool:
    import agfd30k

    return agfd30k.is_release(folder) and not agfd30k.is_raw(folder)


def _release(folder: Path, signature: Callable[[bytes, str], Signature], trust: Path | None) -> int:
    """Read the signatures of a release folder; returns the exit status."""
    from builder.dataset.signatures import verify
    from builder.raw.signatures import State, counted

    states = verify(folder, print, signature)
    print(counted(states, trust is not None))
    return 1 if states[State.TAMPERED] else 0


COMMAND = cli.Command(
    verify, ["agfd30k verify agfd30k-raw --repair", "agfd30k verify agfd30k --signatures --trust anchors.pem"]
)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    return COMMAND.run(argv)


if __name__ == "__main__":
    sys.exit(main())
