"""A release in a store: put there once, its card last, and never over another one.

SHA256SUMS comes first and says whose the place is: only who puts these very files may go on there, after a stop too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.common.address import Address
from builder.common.errors import UserError
from builder.common.files import sha256
from builder.storage.store import Store
from builder.storage.transfer import TRANSFERS, Transfer

SUMS, CARD = "SHA256SUMS", "README.md"


def place_for(address: Address) -> Path:
    """Return where a release for an address is made on this machine: a folder of the name that it will have."""
    return address.workspace / address.path.rpartition("/")[2]


def put(release: Path, address: Address) -> int:
    """Put a release's files at an address; returns how many there are. Raises UserError where another one is there."""
    store = Store(address)
    store.require_bucket()
    files = {str(path.relative_to(release)): path for path in sorted(release.rglob("*")) if path.is_file()}
    strangers = store.find() - {*files, SUMS}
    sums = "".join(f"{sha256(path)}  {name}\n" for name, path in files.items()).encode()
    if strangers or not store.create(SUMS, sums):
        what = min(strangers) if strangers else SUMS
        raise UserError(
            f"{address}: something else is there ({what}), and nothing is overwritten: choose another --out"
        )
    sizes = {name: path.stat().st_size for name, path in files.items()}
    names = [name for name in files if name != CARD]
    with Transfer(address, sum(sizes.values()), len(files), "putting", "to") as putting:
        with ThreadPoolExecutor(TRANSFERS) as pool:
            for name, _ in zip(names, pool.map(lambda name: store.create_file(name, files[name]), names)):
                putting.add(sizes[name])
        store.create_file(CARD, files[CARD])
        putting.add(sizes[CARD])
    return len(files)
