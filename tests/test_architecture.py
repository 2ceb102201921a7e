"""The shape of the project: imports point one way, and heavy libraries stay in their rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    *[
        "agfd30k",
        "builder",
        "cli",
        "rules",
        "criteria",
        "spec",
        "prompts",
        "people",
        "table",
        "design",
        "cells",
        "order",
        "plan",
    ],
    *["preview", "balance", "intervals", "files", "models", "dry_run", "pipeline", "loading"],
    *["checks.verdict", "checks.integrity", "checks.readers", "checks.face", "checks.attribute", "checks.duplicates"],
    *["checks", "checks.loading"],
    *[
        "marks",
        "receipts",
        "rows",
        "shards",
        "raw",
        "census",
        "figures",
        "charts",
        "calibration",
        "card",
        "parquet",
        "release",
    ],
    *["verify", "progress", "refill", "rank", "work", "run", "generate", "lint_files", "lint_data", "lint"],
    *["album", "judgements", "questions", "judge", "votes", "calibrate"],
    *["report_data", "report_pictures", "report"],
    *["patience", "outgoing", "repository", "hub", "readback", "upload"],
    *["preview.canvas", "preview.look", "preview.features", "preview.skin", "preview.mouth", "preview.makeup"],
    *["preview.face", "preview.hair", "preview.clothes", "preview.glasses", "preview.masks", "preview.hands"],
    *["preview.hats", "preview.extras", "preview.profile", "preview.scene", "preview.draw"],
    *["preview.captions", "preview.truth", "preview.data", "preview.nets", "preview.loop", "preview.compression"],
    *["preview.stages", "preview.denoising", "preview.train", "preview.verifier", "preview.agreement"],
]
"""Every module, in import order: a module imports only from its left."""

TORCH = {
    *["pipeline", "loading", "checks.readers", "checks.loading", "rank", "preview.nets", "preview.data"],
    *["preview.loop", "preview.compression", "preview.stages", "preview.denoising", "preview.train"],
    *["preview.verifier", "preview.agreement"],
}


def imports(path):
    """Names of all modules that a file imports, however deep in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def rooms():
    """Every module's name, without `builder.`, and its file; a package stands for its __init__."""
    files = {path.relative_to(ROOT / "builder").with_suffix(""): path for path in (ROOT / "builder").rglob("*.py")}
    named = {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}
    named["builder"] = named.pop("__init__")
    return {"agfd30k": ROOT / "agfd30k.py", **named}


def test_every_module_has_its_place():
    assert sorted(rooms()) == sorted(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_imports_point_one_way(name):
    own = {room if room in ("agfd30k", "builder") else f"builder.{room}": n for n, room in enumerate(ROOMS)}
    place = ROOMS.index(name)
    wrong = sorted(module for module in imports(rooms()[name]) if own.get(module, -1) > place)
    assert wrong == []


def test_the_loader_stands_alone():
    """A loading script is copied to a cache without its neighbours: standard library, datasets and pyarrow only."""
    tops = {module.split(".")[0] for module in imports(ROOT / "agfd30k.py")}
    assert tops == {"hashlib", "json", "pathlib", "re", "datasets", "pyarrow"}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("diffusers", {"pipeline", "loading", "preview.nets", "preview.denoising"}),
        ("transformers", {"pipeline", "loading", "checks.readers", "preview.nets", "preview.stages", "preview.train"}),
        ("torch", TORCH),
        ("accelerate", set()),
        ("matplotlib", {"charts"}),
        ("cv2", {"checks.integrity", "checks.face"}),
    ],
)
def test_heavy_libraries_stay_in_their_rooms(library, allowed):
    found = {name for name, path in rooms().items() if library in {m.split(".")[0] for m in imports(path)}}
    assert found == allowed
