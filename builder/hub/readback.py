"""Load a published dataset as a user would, in a process of its own with an empty cache.

`load_dataset` of every config, downloaded and streaming; rows counted, a picture of each decoded. Of one that rows were
appended to, only the labels are loaded: of what was there before, no picture is downloaded again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import constants, get_token

from builder.common.errors import UserError
from builder.common.retry import is_passing, one_line, status
from builder.dataset.parquet import ALL, METADATA

CACHES = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


def require_room(needed: int) -> None:
    """Raise UserError unless so many bytes are free in the folder into which `read_back` downloads and unpacks."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {free / 1e9:,.2f} GB are free, and {needed / 1e9:,.2f} GB are needed to load the dataset back; "
            "make room there, or let TMPDIR name a folder that has it"
        )


def read_back(repo_id: str, revision: str, expected: dict[str, dict[str, int]]) -> None:
    """Load every config at a commit and print a line for each; `expected` maps config → split → number of rows.

    Raises UserError where a config does not load as expected. The temporary folder needs room for the whole dataset,
    and for the largest config once more, unpacked.
    """
    _in_a_process({"repo_id": repo_id, "revision": revision, "expected": expected}, {})


def look_back(
    repo_id: str,
    revision: str,
    expected: dict[str, dict[str, int]],
    files: dict[str, dict[str, list[str]]],
    new: Mapping[str, int | None],
    count_all: bool = False,
) -> None:
    """Do the same for a commit that has appended files, `new`, each with its number of rows, None where that is not
    known: the labels are loaded, the configs must mean `files` by their globs, every new file has its rows, and of each
    config a new one is read. With `count_all` the rows of all files, old ones too, must add up to those expected.

    Raises UserError where something is not as expected. The labels that were read before are taken from the cache.
    """
    request: dict[str, Any] = {
        "repo_id": repo_id,
        "revision": revision,
        "expected": expected,
        "files": files,
        "new": new,
    }
    request["count_all"] = count_all
    _in_a_process(request, {"HF_HUB_CACHE": str(constants.HF_HUB_CACHE)})


def _in_a_process(request: dict[str, Any], caches: dict[str, str]) -> None:
    repo_id = request["repo_id"]
    with tempfile.TemporaryDirectory(prefix="agfd30k-") as home:
        environment = {**os.environ, "HF_HOME": home, "HF_TOKEN": get_token() or ""}
        for name in CACHES:
            environment.pop(name, None)
        environment |= caches
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")])
        child = subprocess.run(
            [sys.executable, "-m", "builder.hub.readback"],
            input=json.dumps(request),
            stderr=subprocess.PIPE,
            text=True,
            cwd=home,
            env=environment,
        )
        if child.returncode:
            lines = [line for line in child.stderr.splitlines() if line.strip()] or ["no reason given"]
            raise UserError(f"{repo_id}: what was sent does not load: {lines[-1]}")


def main() -> int:
    """Run in the child process; the request comes as JSON on standard input."""
    request = json.load(sys.stdin)
    import datasets

    datasets.disable_progress_bars()
    for config, splits in request["expected"].items():
        try:
            if "new" in request and config != METADATA:
                fault = _appended_fault(request, config, splits)
            else:
                fault = _fault(datasets.load_dataset, request["repo_id"], config, request["revision"], splits)
        except Exception as error:  # datasets and its readers raise anything
            fault = _reason(error)
        if fault:
            print(f"{config}: {fault}", file=sys.stderr)
            return 1
        print(f"  {config}: " + ", ".join(f"{split} {count:,}" for split, count in splits.items()), flush=True)
    return 0


def _reason(error: Exception) -> str:
    """Return why a config does not load; most errors of `datasets` only name another error as their cause."""
    is_of_hub = status(error) or is_passing(error)
    return one_line(error if is_of_hub else error.__cause__ or error)


def _fault(load, repo_id: str, config: str, revision: str, splits: dict[str, int]) -> str | None:
    cache = Path("loaded").absolute()
    loaded = load(repo_id, config, revision=revision, cache_dir=str(cache))
    counts = {split: len(rows) for split, rows in loaded.items()}
    if counts != splits:
        return f"has {counts} rows, not {splits}"
    streamed = load(repo_id, config, revision=revision, streaming=True)
    for split in splits:
        row, first = loaded[split][0], next(iter(streamed[split]))
        if row["id"] != first["id"]:
            return f"{split} begins with {first['id']} when it is streamed, else with {row['id']}"
        if "image" in row and row["image"].convert("RGB").tobytes() != first["image"].convert("RGB").tobytes():
            return f"{split}: the first picture differs when it is streamed"
    del loaded
    shutil.rmtree(cache, ignore_errors=True)
    return None


def _appended_fault(request: dict[str, Any], config: str, splits: dict[str, int]) -> str | None:
    """Return what is wrong with a config that rows were appended to, of which old pictures are not loaded."""
    import datasets

    name, revision = request["repo_id"], request["revision"]
    builder = datasets.load_dataset_builder(name, config, revision=revision, cache_dir=str(Path("loaded").absolute()))
    counts = {split: info.num_examples for split, info in (builder.info.splits or {}).items()}
    if counts != splits:
        return f"has by the card {counts} rows, not {splits}"
    start = f"hf://datasets/{name}@{revision}/"
    files = {
        str(split): [path.removeprefix(start) for path in some] for split, some in builder.config.data_files.items()
    }
    if files != request["files"][config]:
        return f"means other files than it should: {_first_difference(files, request['files'][config])}"
    new = [path for some in files.values() for path in some if path in request["new"]] if config != ALL else []
    for path in new:
        wanted = request["new"][path]
        if wanted is not None and (rows := _rows(start + path)) != wanted:
            return f"{path} has {rows} rows, not {wanted}"
    for split, some in files.items() if request["count_all"] else ():
        if (rows := sum(_rows(start + path) for path in some)) != splits[split]:
            return f"{split} has {rows} rows in its files, not {splits[split]} as by the card"
    if new:
        row = next(iter(datasets.load_dataset("parquet", data_files=start + new[0], split="train", streaming=True)))
        if "image" in row:
            row["image"].convert("RGB")
    return None


@cache
def _rows(address: str) -> int:
    """Return how many rows a Parquet file has, by its footer."""
    import datasets

    with datasets.download.streaming_download_manager.xopen(address, "rb") as file:
        return pq.read_metadata(file).num_rows


def _first_difference(there: dict[str, list[str]], expected: dict[str, list[str]]) -> str:
    wrong = {path for some in there.values() for path in some} ^ {path for some in expected.values() for path in some}
    return min(wrong, default="their order")


if __name__ == "__main__":
    sys.exit(main())
