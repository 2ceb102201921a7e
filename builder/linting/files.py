"""Checks of a release's files and of its card, and the `Release` that all checks look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from builder.dataset.build_info import table_digest
from builder.dataset.folder import ASSET, DATA, TEXTS, Release
from builder.linting import secrets
from builder.spec import table
from builder.spec.faults import SpecError

MOST_FILES, MOST_ENTRIES = 100_000, 10_000
"""In a repository, and in one folder. Source: Hub documentation, repository limitations and recommendations."""
MOST_FILE_BYTES = 20 * 10**9
"""Source: Hub documentation, repository limitations and recommendations."""
TEXT_FILES = {".md", ".toml", ".json"}


def plain(release: Release) -> Iterator[str]:
    """Every file is one: no link, and nothing that a reader would wait for."""
    for name in release.files:
        path = release.folder / name
        if path.is_symlink() or not path.is_file():
            yield f"{name} is {'a link' if path.is_symlink() else 'no file'}: move it away; nothing else was checked"


def names(release: Release) -> Iterator[str]:
    """Nothing but a release's own files, whole sets of them, and not too many."""
    numbers: dict[tuple, set[int]] = {}
    for name in release.files:
        if name == f"{release.repo_name}.py":
            yield f"{name} at the top makes loading fail: `datasets` takes it for a loading script"
        elif not (name in TEXTS or ASSET.fullmatch(name) or name in release.parquet):
            yield f"{name} is not a part of a release: move it away"
        elif part := DATA.fullmatch(name):
            numbers.setdefault((part[1], part[2], part[3] or "", int(part[5])), set()).add(int(part[4]))
    for (place, split, batch, count), present in numbers.items():
        if present != set(range(count)):
            appended = f"-more{batch}" if batch else ""
            yield f"{place}/{split}{appended}: {len(present)} of {count} files are there"
    if len({(place, split, batch) for place, split, batch, _ in numbers}) < len(numbers):
        yield "files of two different releases lie side by side"
    if len(release.files) > MOST_FILES:
        yield f"{len(release.files):,} files, the Hub wants at most {MOST_FILES:,}"
    for parent, count in Counter(name.rpartition("/")[0] for name in release.files).items():
        if count > MOST_ENTRIES:
            yield f"{parent or 'the top'}: {count:,} files in one folder, the Hub wants at most {MOST_ENTRIES:,}"


def sizes(release: Release) -> Iterator[str]:
    """No file is larger than the Hub likes."""
    for name in release.files:
        if (release.folder / name).lstat().st_size > MOST_FILE_BYTES:
            yield f"{name} is larger than {MOST_FILE_BYTES / 1e9:.0f} GB"


def texts(release: Release) -> Iterator[str]:
    """No text has in it what looks like a secret: the card, the table, and JSON. The string itself is not shown."""
    for name in release.files:
        path = release.folder / name
        if path.suffix in TEXT_FILES and path.is_file():
            kind = secrets.kind_of(path.read_text(encoding="utf-8", errors="replace"))
            if kind:
                yield f"{name} holds what looks like an access token, a key or a password ({kind})"


def recipe(release: Release) -> Iterator[str]:
    """The table is there, is a good one, and is the one that the card's build info was made with.

    Its first line names the fingerprint, and its values give the table's digest; its comments may be changed. The
    fingerprint also stands for the run's flags, so it cannot be computed again from a release alone.
    """
    path = release.folder / "recipe.toml"
    try:
        table.load(path)
    except SpecError as error:
        yield str(error)
        return
    toml, info = path.read_text(encoding="utf-8"), release.info
    if info and not toml.splitlines()[0].endswith(f"; fingerprint {info.recipe}"):
        yield "recipe.toml and README.md are of two recipes: their fingerprints differ"
    elif info and info.table and info.table != table_digest(toml):
        yield "recipe.toml is not the table that the release was made with: it was changed; make the release again"
