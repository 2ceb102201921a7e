"""The raw folder: one table, one model, many shards. `recipe.json` says which, and guards against mixing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

import agfd30k
from builder import UserError, criteria
from builder.files import atomic, sync_folder
from builder.models import Source
from builder.plan import Plan, Shard
from builder.receipts import ROWS, Damaged, is_done, receipt
from builder.spec import Feature, Recipe, Spec, fingerprint

RECIPE = "recipe.json"
ASKED = "asked.json"
SHARDS = "shards"
LOCK = ".release.lock"
"""Held while the whole folder is read, or pictures are taken back."""
SEARCHED = "searched.json"
"""Which rows are known to hold no duplicates."""
KEYS = {"spec", "model", "checks", "settings", "labels", "toml", "fingerprint"}


def document(
    spec: Spec, source: Source, toml: str, checks: Sequence[dict[str, Any]] = (), **settings: Any
) -> dict[str, Any]:
    """What recipe.json holds: the resolved table, the exact model, the checks with their versions and models, the
    settings that change files, and the labels.

    A local model is known by its name and digest, not by where it lies. `toml` is the table's text, kept for reading.
    """
    known = {key: value for key, value in asdict(source).items() if key != "location"}
    content = {"spec": spec.as_dict(), "model": known, "checks": list(checks), "settings": settings}
    if source.kind in ("folder", "file"):
        content["spec"]["recipe"].update(model=source.name, revision=source.revision)
    for check in checks:
        if check["model"] and check["model"]["kind"] in ("folder", "file"):
            key = "model" if check["name"] == "attribute" else "detector"
            content["spec"]["checks"][check["name"]].update({key: check["model"]["name"]})
    pixels = {**content, "spec": {key: value for key, value in content["spec"].items() if key != "license"}}
    return {**content, "labels": spec.labels, "toml": toml, "fingerprint": fingerprint(pixels)}


def read(raw: Path) -> dict[str, Any] | None:
    """The recipe of a raw folder, or None where there is none yet."""
    try:
        found = json.loads((raw / RECIPE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not _is_recipe(found):
        raise UserError(
            f"{raw / RECIPE}: damaged, or of another version; restore it, or choose another folder with --raw"
        )
    return found


def _is_recipe(found: Any) -> bool:
    """True for what `document` gives, as far as its shape tells."""
    try:
        spec_of(found)
        Source(location="", **found["model"])
        return set(found) >= KEYS and {"image_format", "shard_size"} <= set(found["settings"])
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def require(raw: Path) -> dict[str, Any]:
    """The recipe of a raw folder that must be there."""
    found = read(raw)
    if found is None:
        raise UserError(
            f"{raw}: no raw build here (no {RECIPE}); make one with `accelerate launch builder/generate.py`"
        )
    return found


def recorded_source(raw: Path, model: str, revision: str) -> Source | None:
    """The model an earlier run of this folder settled on, if it was asked for in the same words."""
    found = read(raw)
    if found is None:
        return None
    asked = found["spec"]["recipe"]
    if (asked["model"], asked["revision"]) != (model, revision):
        return None
    return Source(location=model, **found["model"])


def recorded_checks(raw: Path) -> list[dict[str, Any]]:
    """The checks that an earlier run of this folder noted, with their exact models."""
    found = read(raw)
    return found["checks"] if found else []


def begin(raw: Path, content: dict[str, Any]) -> None:
    """Make the folder this build's own, or make sure that it already is. Raises UserError telling what differs.

    What changes no picture, the licence or a comment in the table, is taken over from `content`.
    """
    raw.mkdir(parents=True, exist_ok=True)
    with _recipe_lock(raw):
        for name in (RECIPE, ASKED):
            for torn in raw.glob(f".{name}.*.tmp"):
                torn.unlink(missing_ok=True)
        found = read(raw)
        if found is None and (raw / SHARDS).exists():
            raise UserError(f"{raw}: has shards but no {RECIPE}; restore it, or choose another folder with --raw")
        if found is None or (found != content and found["fingerprint"] == content["fingerprint"]):
            with atomic(raw / RECIPE) as file:
                file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())
            for folder in (raw, raw.absolute().parent):
                sync_folder(folder)
        elif found["fingerprint"] != content["fingerprint"]:
            differences = "; ".join(_differences(found, content)) or "the fingerprint"
            raise UserError(f"{raw} was made by another recipe ({differences}): choose another folder with --raw")


def _recipe_lock(raw: Path) -> FileLock:
    """Held while it is settled whose folder this is, and what it was asked for."""
    return FileLock(raw / ".recipe.lock")


def note_asked(raw: Path, plan: Plan) -> None:
    """Remember what the latest run was asked to make."""
    with _recipe_lock(raw), atomic(raw / ASKED) as file:
        file.write(json.dumps({"only": list(plan.only), "scale": plan.scale, "limit": plan.limit}).encode())


def unfinished(raw: Path) -> list[str]:
    """Shards that the latest run was asked for and that are not done. Raises UserError where there is no build."""
    recipe = require(raw)
    try:
        asked = json.loads((raw / ASKED).read_text(encoding="utf-8")) if (raw / ASKED).exists() else {}
        plan = Plan(spec_of(recipe), shard_size=recipe["settings"]["shard_size"], **asked)
    except (TypeError, ValueError):
        raise UserError(f"{raw / ASKED}: damaged; remove it, or run the builder again") from None
    return [shard.name for shard in plan.shards if not is_done(raw / SHARDS / shard.name, plan.ids(shard))]


def spec_of(content: dict[str, Any]) -> Spec:
    """The table that a recipe.json was made from."""
    table = dict(content["spec"])
    features = []
    for row in table.pop("features"):
        lists = {key: tuple(row[key]) for key in ("ages", "positive", "negative")}
        by_sex = {key: {sex: tuple(row[key][sex]) for sex in row[key]} for key in ("subjects", "phrases")}
        features.append(Feature(**{**row, **lists, **by_sex, "check": criteria.shown(row["check"])}))
    minors = {key: tuple(pieces) for key, pieces in table.pop("minors").items()}
    kept = {"recipe": Recipe(**table["recipe"]), "checks": criteria.restored(table["checks"])}
    return Spec(**{**table, **kept}, features=tuple(features), minors=minors)


def finished(raw: Path) -> dict[Path, str]:
    """Every shard folder that has its receipt, in the order of `agfd30k.shards`, and the digest of its rows.

    Raises Damaged for one that was made by another recipe.
    """
    fingerprint = require(raw)["fingerprint"]
    receipts = {folder: receipt(folder) for folder in agfd30k.shards(raw)}
    done = {folder: facts for folder, facts in receipts.items() if facts is not None}
    for folder, facts in done.items():
        if facts["fingerprint"] != fingerprint:
            raise Damaged(f"{folder}: was made by another recipe", folder)
    return {folder: facts["sha256"] for folder, facts in done.items()}


def digest(shards: dict[Path, str]) -> str:
    """One digest of all that some finished shards hold."""
    lines = "".join(f"{folder.name} {rows}\n" for folder, rows in shards.items())
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def note_searched(raw: Path, shards: dict[Path, str]) -> None:
    """Remember that no two pictures of these shards, which are all there are, show the same."""
    with atomic(raw / SEARCHED) as file:
        file.write(json.dumps({"rows": digest(shards)}).encode())


def is_searched(raw: Path, criteria: Any, shards: dict[Path, str]) -> bool:
    """True when duplicates were looked for in these very shards, or the table's `criteria` ask for no such search."""
    try:
        return criteria is None or json.loads((raw / SEARCHED).read_text(encoding="utf-8"))["rows"] == digest(shards)
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return False


class RowCount:
    """Committed lines of a raw folder, counted from the files; only what was appended since is read again."""

    def __init__(self, raw: Path, name: str = ROWS):
        self.raw = raw
        self.name = name
        self.seen: dict[Path, tuple[int, int, int]] = {}

    def __call__(self, shards: Iterable[Shard]) -> int:
        """Lines in the given shards."""
        return sum(self._rows(self.raw / SHARDS / shard.name / self.name) for shard in shards)

    def _rows(self, path: Path) -> int:
        try:
            now = path.stat()
        except FileNotFoundError:
            return 0
        inode, offset, rows = self.seen.get(path, (now.st_ino, 0, 0))
        if inode != now.st_ino or now.st_size < offset:  # a finished shard's rows were put into order
            offset, rows = 0, 0
        if now.st_size > offset:
            with open(path, "rb") as file:
                file.seek(offset)
                new = file.read(now.st_size - offset)
            offset, rows = offset + new.rfind(b"\n") + 1, rows + new.count(b"\n")
        self.seen[path] = (now.st_ino, offset, rows)
        return rows


def _differences(old: dict, new: dict) -> Iterator[str]:
    """Where two documents differ, at most five places."""
    found: list[str] = []
    for part in ("spec", "model", "checks", "settings"):
        _compare(old.get(part), new[part], part, found)
    yield from found[:5]
    if len(found) > 5:
        yield f"and {len(found) - 5} more"


def _compare(old: Any, new: Any, where: str, found: list[str]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            _compare(old.get(key), new.get(key), f"{where}.{key}" if where else key, found)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new), 1):
            label = one.get("name", number) if isinstance(one, dict) else number
            _compare(one, other, f"{where}[{label}]", found)
    elif old != new:
        found.append(f"{where}: {_short(old)} there, {_short(new)} here")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
