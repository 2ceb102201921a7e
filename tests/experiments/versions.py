"""Load every config of a release with several versions of datasets, from its folder and from a Hub, streamed and not.

    python tests/experiments/versions.py                               # 2.21.0, 3.6.0, 4.8.5, 5.0.1 and 5.2.0
    python tests/experiments/versions.py --datasets 4.0.0 --release agfd30k

makes an environment for each version, one after another (some 400 MB and a minute each; the network is needed for that
alone), reads a small release of stand-in pictures there, or the one that is named, and prints how many rows each way
gave, or its error in a line. The Hub is the loopback one. Of every split a picture is decoded; every id must be there
once, and every picture be, byte for byte, what `sha256` says. Exit status 1 where anything is otherwise.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import huggingface_hub.constants
import pyarrow.parquet as pq
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars

from builder.dataset.folder import Release
from builder.dataset.packing import pack
from builder.raw.build import RawBuild
from tests.experiments.kill import print_table
from tests.fixtures.builds import write_raw
from tests.fixtures.hub import Hub

VERSIONS = ("2.21.0", "3.6.0", "4.8.5", "5.0.1", "5.2.0")
REPO, TOKEN = "user/faces", "hf_write"
SCALE = 0.02
READ = """
import hashlib, json, sys
import datasets
from datasets import Image, load_dataset
datasets.disable_progress_bars()
name, configs, cache = sys.argv[1], sys.argv[2].split(","), sys.argv[3]

def rows_of(part):
    if "image" in part.features:
        next(iter(part))["image"].load()
        part = part.cast_column("image", Image(decode=False))
    return list(part)

def count(config, streaming):
    rows = []
    for part in load_dataset(name, config, streaming=streaming, cache_dir=cache).values():
        rows += rows_of(part)
    for row in rows:
        if "image" in row and hashlib.sha256(row["image"]["bytes"]).hexdigest() != row["sha256"]:
            return "another picture: " + row["id"]
    return len(rows) if len({row["id"] for row in rows}) == len(rows) else "an id is there twice"

for config in configs:
    for streaming in (False, True):
        try:
            found = count(config, streaming)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        print(json.dumps([config, streaming, found]), flush=True)
"""


def say(line):
    print(line, file=sys.stderr, flush=True)


def environment_of(version, folder):
    """Make an environment of a version, what it pulls and Pillow, unless it is there; returns its Python."""
    place = folder / f"datasets-{version}"
    python = place / "bin/python"
    if not (place / "ready").exists():
        say(f"datasets {version}: making its environment in {place} ...")
        begin = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
        subprocess.run([*pip, f"datasets=={version}", "pillow"], check=True)
        (place / "ready").touch()
        say(f"datasets {version}: ready after {time.monotonic() - begin:.0f} s")
    return python


def read(python, name, configs, folder, environment):
    """Yield config, whether it was streamed, and rows or what went wrong."""
    cache = tempfile.mkdtemp(dir=folder)
    command = [python, "-c", READ, name, ",".join(configs), cache]
    with subprocess.Popen(
        [*map(str, command)], env=environment, cwd=cache, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        output, errors = process.communicate()
    yield from map(json.loads, output.splitlines())
    if process.returncode:
        yield "all of them", False, (errors.strip().splitlines() or ["?"])[-1]


def small(folder):
    """A release of stand-in pictures."""
    say(f"a release of {SCALE:.0%} of the table ...")
    write_raw(folder / "raw", scale=SCALE)
    pack(RawBuild.open(folder / "raw"), folder / "agfd30k")
    return folder / "agfd30k"


def rows_in(release):
    """Rows of every config, as its files count them."""
    counts = {}
    for config in Release(release).card[0]["configs"]:
        globs = [part["path"] for part in config["data_files"]]
        paths = [one for path in globs for one in ([path] if isinstance(path, str) else path)]
        files = [file for path in paths for file in release.glob(path)]
        counts[config["config_name"]] = sum(pq.read_metadata(file).num_rows for file in files)
    return counts


def publish(hub, release):
    """Put a release on the Hub."""
    disable_progress_bars()
    huggingface_hub.constants.HF_HUB_DISABLE_XET = True
    os.environ["NO_PROXY"] = "*"
    api = HfApi(hub.endpoint, token=TOKEN)
    api.create_repo(REPO, repo_type="dataset")
    api.upload_folder(repo_id=REPO, repo_type="dataset", folder_path=release)


def trial(version, folder, release, wanted, hub):
    """All ways of one version; yields a row of the table for every config."""
    python = environment_of(version, folder)
    found = {config: {} for config in wanted}
    for place, name in (("folder", release), ("Hub", REPO)):
        say(f"datasets {version}: reading from the {place} ...")
        environment = hub.environment(folder / f"home-{version}", TOKEN)
        environment.pop("PYTHONPATH", None)
        for config, streamed, rows in read(python, name, wanted, folder, environment):
            found.setdefault(config, {})[f"{place}, streamed" if streamed else place] = rows
    for config, ways in found.items():
        cells = {way: _cell(ways.get(way, "-")) for way in ("folder", "folder, streamed", "Hub", "Hub, streamed")}
        yield {"datasets": version, "config": config, "rows": wanted.get(config, "-"), **cells}


def _cell(value):
    return value if isinstance(value, int) else " ".join(str(value).split())[:120]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=VERSIONS, metavar="VERSION", help="versions to try")
    parser.add_argument("--release", type=Path, help="a release folder (default: a small one of stand-in pictures)")
    parser.add_argument("--folder", type=Path, help="where environments are made and kept (default: temporary)")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = (arguments.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        release = (arguments.release or small(temporary)).resolve()
        wanted = rows_in(release)
        hub = stack.enter_context(Hub(temporary / "hub", lfs_threshold=10_000))
        publish(hub, release)
        table = [row for version in arguments.datasets for row in trial(version, folder, release, wanted, hub)]
    print_table(table)
    return 0 if all({*row.values()} == {row["datasets"], row["config"], row["rows"]} for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
