"""The raw folder: one table, one model, many shards. `recipe.json` says which, and guards against mixing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from builder.common.errors import UserError
from builder.common.files import atomic, sync_folder
from builder.models.source import Source
from builder.raw.layout import ASKED, RECIPE, SHARDS
from builder.spec.spec import Spec, fingerprint, spec_of

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
