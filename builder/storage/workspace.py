"""The folder of this machine in which a store's build is worked at: a cache, of one recipe at a time."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import agfd30k
from builder.common.errors import UserError
from builder.common.files import atomic
from builder.raw import ownership
from builder.raw.layout import RECIPE, ROWS, SHARDS
from builder.raw.ownership import read_recipe
from builder.raw.recipe import BuildRecipe
from builder.raw.shard_writer import is_locked
from builder.storage.shard_copy import Copy
from builder.storage.store import Store


def stored_recipe(store: Store) -> BuildRecipe | None:
    """Return the recipe in a store, None where there is none. Raises UserError for one that is damaged."""
    data = store.read(RECIPE)
    try:
        return BuildRecipe.parse(data.decode()) if data is not None else None
    except ValueError:
        raise UserError(f"{store.address}/{RECIPE}: damaged, edited, or of another version") from None


def settle(store: Store) -> BuildRecipe | None:
    """Make the workspace of a store one of the recipe that is there, emptied where it was another's.

    Returns the recipe, None where the store has none yet.
    """
    store.require_bucket()
    recipe, folder = stored_recipe(store), store.address.workspace
    if recipe is not None:
        ownership.require_checked(folder, recipe)
        become(folder, recipe)
    return recipe


def become(folder: Path, recipe: BuildRecipe) -> None:
    """Make a workspace a recipe's own: it is a cache, and what another recipe made there is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with ownership.lock(folder):
        try:
            there = read_recipe(folder)
        except UserError:
            there = None
        if there is not None and there.document() == recipe.document():
            return
        if there is None or there.fingerprint != recipe.fingerprint:
            _clear(folder, there)
        with atomic(folder / RECIPE) as file:
            file.write(str(recipe).encode())


def _clear(folder: Path, recipe: BuildRecipe | None) -> None:
    """Make room in a workspace of which another recipe is wanted now: what `recipe` made there and did not send is
    moved aside, and a line says so. Raises UserError while a process is at it.
    """
    shards = agfd30k.shards(folder)
    if any(map(is_locked, shards)):
        raise UserError(f"{folder}: another process is making pictures of another recipe here; wait for it")
    if any((shard / ROWS).exists() and not Copy(shard).is_sent for shard in shards):
        aside = folder / f"{SHARDS}-{recipe.fingerprint[:12] if recipe else 'unknown'}-{time.time_ns()}"
        (folder / SHARDS).rename(aside)
        print(f"{aside}: what another recipe has made here and not sent is there now", file=sys.stderr, flush=True)
    _remove_all(folder)


def _remove_all(workspace: Path) -> None:
    """Empty a workspace of which another recipe is wanted now, but for locks and what was moved aside."""
    shutil.rmtree(workspace / SHARDS, ignore_errors=True)
    for path in workspace.iterdir() if workspace.exists() else ():
        if path.name.startswith(f"{SHARDS}-"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif not path.name.endswith("lock"):
            os.unlink(path)
