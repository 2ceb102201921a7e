"""The signatures of a release's pictures, read from its Parquet files as they lie there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builder.common.errors import UserError, shortened
from builder.common.progress import progress_bar
from builder.raw.signatures import Signature, State, ending_of

PICTURES = "data/*/*.parquet"
"""Every picture once."""
AT_ONCE = 64
"""Pictures held in memory."""


def verify(folder: Path, say: Callable[[str], None], signature: Callable[[bytes, str], Signature]) -> Counter[State]:
    """Count the signatures of a release's pictures by state, and tell `say` every one that does not fit its picture.

    `signature` gives what the one in a picture's file says, like `raw.signatures.signature_of`.
    """
    states: Counter[State] = Counter()
    for path in progress_bar(sorted(folder.glob(PICTURES)), unit="file"):
        for id, data in _pictures(path):
            ending = ending_of(data)
            found = signature(data, ending) if ending else Signature(State.TAMPERED)
            states[found.state] += 1
            if found.state is State.TAMPERED:
                say(shortened(f"{id}: its picture {found if ending else 'is neither PNG, WebP nor JPEG'}"))
    return states


def _pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the id and the file of every picture. Raises UserError for a file that is none of a release."""
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE, columns=["id", "image"]):
                for row in batch.to_pylist():
                    yield row["id"], row["image"]["bytes"] or b""
    except (OSError, pa.ArrowException, LookupError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
