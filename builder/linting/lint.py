"""Everything that is checked of a release folder before it is sent: what the Hub, its viewer or a user would trip over.

A rule is a function from a `Release` to lines of text, one for every fault that it finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from builder.dataset.folder import Release
from builder.engine.engine import Engine
from builder.linting import card, croissant, files, parquet, rows, viewer
from builder.linting.secrets import masked

UNREADABLE = (
    *[OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError],
    *[NotImplementedError, RecursionError],
)
"""What reading a damaged file, or a card of another shape, can end in."""
FILE_RULES = (files.names, files.sizes, card.readme, card.checker, files.texts, files.recipe)
DATA_RULES = (
    *[card.configs, parquet.counts, parquet.schema],
    viewer.row_groups,
)
OF_ROWS = {"rows", "pictures", "annotated", "aligned"}
"""Rules that name rows by their ids, in which a secret may stand too."""
NOTES = (viewer.pages, viewer.first_rows, viewer.statistics)
"""Rules that a release of large pictures, long prompts or few rows may break: the viewer shows less of it, and all
loads."""


@dataclass(frozen=True)
class Fault:
    """What a rule found; `rule` is the rule's name."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


def check(
    release: Release,
    thorough: bool = False,
    allow_preview: bool = False,
    allow_incomplete: bool = False,
    engine: Engine | None = None,
) -> Iterator[Fault]:
    """Yield all faults of a release. `thorough` decodes every picture instead of a sample. What takes long is done by
    `engine`: unless given, by as many processes of this machine as are worth it.

    A preview is a fault unless allowed, and so is a feature with fewer pictures than the table wants; a preview that is
    allowed may be incomplete.
    """
    odd = list(_found("plain", files.plain, release))
    yield from odd
    if odd:
        return
    for rule in FILE_RULES:
        yield from _found(rule.__name__, rule, release)
    if release.preview and not allow_preview:
        yield Fault("preview", "these are preview pictures, not the dataset (--allow-preview sends them)")
    damaged = list(_found("damaged", parquet.damaged, release))
    yield from damaged
    if release.card[0] and not damaged:
        yield from _of_data(release, thorough, allow_incomplete or (release.preview and allow_preview), engine)


def notes(release: Release) -> Iterator[Fault]:
    """Yield what the viewer will not show of a release without faults."""
    for rule in NOTES:
        yield from _found(rule.__name__, rule, release)


def _of_data(release: Release, thorough: bool, incomplete: bool, engine: Engine | None) -> Iterator[Fault]:
    made: Counter = Counter()
    odd = [fault for rule in DATA_RULES for fault in _found(rule.__name__, rule, release)]
    odd += _found("secrets", parquet.secrets, release, engine)
    yield from odd
    if not odd:  # it is compared with the card
        yield from _found("croissant", croissant.croissant, release)
    yield from _found("rows", rows.rows, release, made, engine)
    if not {"configs", "schema"} & {fault.rule for fault in odd}:
        yield from _found("annotated", parquet.annotated, release)
        yield from _found("aligned", parquet.aligned, release)
    yield from _found("checked", parquet.checked, release, engine)
    if made:
        yield from _found("listed", card.listed, release, made)
    yield from _found("pictures", parquet.pictures, release, thorough, engine)
    if made and not incomplete:
        faults = list(_found("quotas", card.quotas, release, made))
        yield from faults[:5]
        if faults:
            left = f"{len(faults)} features lack pictures" if len(faults) > 1 else "a feature lacks pictures"
            yield Fault("quotas", f"{left}: run the builder again, or send it as it is with --allow-incomplete")
        yield from _found("unsearched", card.unsearched, release)


def _found(name: str, rule: Callable[..., Iterable[str]], *arguments: object) -> Iterator[Fault]:
    try:
        for text in rule(*arguments):
            yield Fault(name, masked(text, digests=name not in OF_ROWS))
    except UNREADABLE as error:
        says = masked(" ".join(str(error).split()), digests=name not in OF_ROWS)
        yield Fault(name, f"cannot be checked: {says[:200] or type(error).__name__}")
