"""What a release was built from, as its README says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import tomlkit

from builder.raw import build
from builder.raw.calibration_file import Kept
from builder.spec.spec import fingerprint

TALLY = "checks.json"

IGNORED = {".gitattributes", ".cache", ".DS_Store"}

MARK = re.compile(
    r"<!-- built from (?P<rows>\S+), recipe (?P<recipe>\S+), (table (?P<table>\S+), )?model (?P<kind>\S+)"
    r"(, calibration \S+)?(?P<unsearched>, unsearched)? -->"
)


def recipe_toml(recipe: dict) -> str:
    """The table as it was given, but with the models and the commits it was built with; --spec reads it.

    Of a local model it says the name, not where it lies.
    """
    model = recipe["spec"]["recipe"]["model"]
    revision = recipe["model"]["revision"] if recipe["model"]["kind"] == "hub" else recipe["spec"]["recipe"]["revision"]
    document = tomlkit.parse(recipe["toml"])
    document.setdefault("recipe", tomlkit.table()).update({"model": model, "revision": revision})
    for check in recipe["checks"]:
        if check["model"] and check["model"]["kind"] != "preview":
            key = "model" if check["name"] == "attribute" else "detector"
            pinned = {"revision": check["model"]["revision"]} if check["model"]["kind"] == "hub" else {}
            document["checks"][check["name"]].update({key: check["model"]["name"], **pinned})
    note = f"built with {recipe['model']['name']}, revision {recipe['model']['revision']}"
    return f"# {note}; fingerprint {recipe['fingerprint']}\n\n{tomlkit.dumps(document).rstrip()}\n"


def table_digest(toml: str) -> str:
    """One digest of all that a table in TOML says; comments and the way it is written are not in it."""
    return fingerprint(tomllib.loads(toml))


def mark_of(shards: dict[Path, str], recipe: dict, calibrated: Kept | None, searched: bool) -> str:
    """The line of a README that says what its release was built from."""
    more = (f", calibration {calibrated.digest}" if calibrated else "") + ("" if searched else ", unsearched")
    by = f"recipe {recipe['fingerprint']}, table {table_digest(recipe_toml(recipe))}, model {recipe['model']['kind']}"
    return f"<!-- built from {build.digest(shards)}, {by}{more} -->"


def mark_in(out: Path) -> re.Match[str] | None:
    """What a release was built from, as its README says."""
    try:
        return MARK.search((out / "README.md").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
