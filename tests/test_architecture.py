"""The shape of the house: data flows one way through the stages, and heavy libraries stay in their rooms."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = [
    *["common", "spec", "plan", "preview", "models", "checks", "raw", "generation", "dataset", "linting", "reporting"],
    *["judging", "hub"],
]
"""Every folder of `builder/`, in the order of the data's way: a stage imports only stages before it."""
COMMANDS = {"generate", "release", "verify", "lint", "report", "judge", "calibrate", "balance", "upload"}
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for path in [ROOT / "agfd30k.py", *sorted((ROOT / "builder").rglob("*.py"))]
}


def imports(path):
    """Names of all modules that a file imports, however deep in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def test_a_stage_imports_only_stages_before_it_and_only_main_imports_commands():
    order = {stage: number for number, stage in enumerate(STAGES)}
    for name, path in MODULES.items():
        own = name.split(".")[1] if "." in name else name
        for module in imports(path):
            top, _, rest = module.partition(".")
            assert top not in ("drawn_faces", "tests", "benchmarks"), f"{name} imports {module}"
            if top == "builder" and rest and (stage := rest.split(".")[0]) != own and own != "__main__":
                assert stage in order, f"{name} imports {module}, which is no stage"
                assert order[stage] < order.get(own, len(order)), f"{name} imports {module}, which comes later"


def test_a_file_is_a_command_and_a_folder_a_stage():
    names = {path.stem for path in (ROOT / "builder").glob("*.py")} - {"__init__", "__main__"}
    assert names == COMMANDS
    assert {path.parent.name for path in (ROOT / "builder").glob("*/__init__.py")} == set(STAGES)


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("diffusers", {"models"}),
        ("transformers", {"models"}),
        ("torch", {"models", "checks", "generation"}),
        ("accelerate", set()),
        ("matplotlib", {"dataset"}),
        ("cv2", {"models", "checks"}),
        ("argparse", set()),
        ("typer", {"common", "__main__", *COMMANDS} - {"balance"}),
    ],
)
def test_a_library_stays_in_its_rooms(library, rooms):
    users = {
        name.split(".")[1] for name, path in MODULES.items() if library in {m.split(".")[0] for m in imports(path)}
    }
    assert users == rooms


def test_the_loader_stands_alone():
    """A loading script is copied to a cache without its neighbours: standard library, datasets and pyarrow only."""
    tops = {module.split(".")[0] for module in imports(ROOT / "agfd30k.py")}
    assert tops - sys.stdlib_module_names == {"datasets", "pyarrow"}
