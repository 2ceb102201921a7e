"""Whose folder a raw folder is: the recipe that it holds, and who may take it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from filelock import FileLock

import agfd30k
from builder.common.errors import UserError
from builder.common.files import atomic, sync_folder
from builder.raw import shard_writer
from builder.raw.layout import ASKED, RECIPE, SHARDS
from builder.raw.recipe import BuildRecipe


def read_recipe(folder: Path) -> BuildRecipe | None:
    """Return the recipe of a raw folder, None where there is none yet. Raises UserError for one that is damaged, or
    of pictures that no safety checker has to pass, and where there is anything but a folder for its shards.
    """
    path, shards = folder / RECIPE, folder / SHARDS
    if os.path.lexists(shards) and not shards.is_dir():
        raise UserError(f"{shards}: is no folder; move it away, and what was in it is made again")
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: no file")
        recipe = BuildRecipe.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise UserError(
            f"{folder / RECIPE}: damaged, edited, or of another version; restore it, or choose another folder "
            "with --raw"
        ) from None
    require_checked(folder, recipe)
    return recipe


def lock(folder: Path) -> FileLock:
    """Held while it is settled whose folder this is, and what it was asked for."""
    return FileLock(folder / ".recipe.lock")


def take(folder: Path, recipe: BuildRecipe) -> None:
    """Make a folder a recipe's own, or make sure that it already is; see `RawBuild.begin`."""
    require_checked(folder, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        for name in (RECIPE, ASKED):
            for torn in folder.glob(f".{name}.*.tmp"):
                torn.unlink(missing_ok=True)
        there = require_free(folder, recipe)
        if there is not None and there.fingerprint != recipe.fingerprint and (folder / SHARDS).exists():
            shutil.rmtree(folder / SHARDS)  # nothing was made in them
        if there is None or there.document() != recipe.document():
            with atomic(folder / RECIPE) as file:
                file.write(str(recipe).encode())
            for parent in (folder, folder.absolute().parent):
                sync_folder(parent)


def require_checked(folder: Path, recipe: BuildRecipe) -> None:
    if not recipe.is_checked:
        raise UserError(
            f"{folder / RECIPE}: names no safety checker, and only the preview's drawings do without one; make these "
            "pictures again in another folder (--raw)"
        )


def require_free(folder: Path, recipe: BuildRecipe) -> BuildRecipe | None:
    """Return the recipe of a folder that this recipe may use, None where it has none yet.

    Raises UserError for a folder that holds something else, or anything that another recipe made.
    """
    # Looked at before the recipe is: another process may begin this very build in between.
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []
    there = read_recipe(folder)
    if there is None and SHARDS in names:
        raise UserError(f"{folder}: has shards but no {RECIPE}; restore it, or choose another folder with --raw")
    if there is None and names:
        raise UserError(f"{folder}: is not empty ({min(names)}) and no raw build; choose another folder with --raw")
    if there is not None and there.fingerprint != recipe.fingerprint and not _is_untouched(folder):
        differences = "; ".join(there.differences(recipe)) or "the fingerprint"
        raise UserError(f"{folder} was made by another recipe ({differences}): choose another folder with --raw")
    return there


def _is_untouched(folder: Path) -> bool:
    """Return True where nothing was made yet: no shard has a picture or a line, and nobody is writing one."""
    if any(path.is_file() and path.stat().st_size for path in (folder / SHARDS).rglob("*")):
        return False
    try:
        for shard in agfd30k.shards(folder):
            shard_writer.lock(shard).release()
    except shard_writer.Locked:
        return False
    return True
