"""The shape of the house: data flows one way through the stages, and heavy libraries stay in their rooms."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = [
    *[
        "common",
        "engine",
        "spec",
        "plan",
        "preview",
        "models",
        "checks",
        "raw",
        "storage",
        "generation",
        "dataset",
        "annotation",
        "linting",
    ],
    *["reporting", "judging", "evaluation", "hub"],
]
"""Every folder of `builder/`, in the order of the data's way."""


def imports(path):
    """Names of all modules that a file imports, however deep in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def rooms():
    """(room, imported module), of every file in `builder/`: a folder, a command, `__init__` or `__main__`."""
    for path in (ROOT / "builder").rglob("*.py"):
        room = path.relative_to(ROOT / "builder").with_suffix("").parts[0]
        yield from ((room, module) for module in imports(path))


def test_a_stage_imports_only_stages_before_it_and_nobody_imports_a_command():
    order = {stage: number for number, stage in enumerate(STAGES)}
    assert {path.parent.name for path in (ROOT / "builder").glob("*/__init__.py")} == set(STAGES)
    for room, module in rooms():
        top, _, rest = module.partition(".")
        assert top not in ("drawn_faces", "tests", "benchmarks", "argparse"), f"{room} imports {module}"
        stage = rest.partition(".")[0]
        if top == "builder" and stage not in ("", room):
            assert stage in order and order[stage] < order.get(room, len(order)), f"{room} imports {module}"


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        *[("diffusers", {"models"}), ("transformers", {"models"}), ("torch", {"models", "checks", "generation"})],
        *[
            ("accelerate", set()),
            ("matplotlib", {"dataset"}),
            ("cv2", {"models", "checks"}),
            ("ray", {"engine"}),
            ("fsspec", {"storage"}),
        ],
    ],
)
def test_a_library_stays_in_its_rooms(library, allowed):
    """The API may ask for a device."""
    assert {room for room, module in rooms() if module.split(".")[0] == library} - {"__init__"} == allowed


@pytest.mark.parametrize(("library", "file"), [("ray", "ray.py"), ("fsspec", "store.py")])
def test_one_module_knows_it(library, file):
    files = (ROOT / "builder").rglob("*.py")
    assert [path.name for path in files if library in {module.split(".")[0] for module in imports(path)}] == [file]


def test_the_loader_stands_alone():
    """A loading script is copied to a cache alone: the standard library, datasets and what that needs."""
    tops = {module.split(".")[0] for module in imports(ROOT / "agfd30k.py")}
    assert tops - sys.stdlib_module_names == {"datasets", "numpy", "PIL", "pyarrow"}


def test_every_stage_is_installed():
    """Also where the project is installed by itself, without its repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {f"builder.{path.parent.name}" for path in (ROOT / "builder").glob("*/__init__.py")}
    assert {*project["tool"]["setuptools"]["packages"]} == folders | {"builder", "dataset_card"}
