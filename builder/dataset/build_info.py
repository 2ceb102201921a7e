"""What a release was built from, as its README says in one line; and its recipe.toml."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import tomlkit

from builder.dataset.markdown import visible
from builder.raw.recipe import BuildRecipe
from builder.spec.spec import fingerprint

FORMAT = "2"
"""How releases are laid out: in the first one the checks were one column, and there was no first page."""


@dataclass(frozen=True)
class BuildInfo:
    """What a release was built from: digests of its rows, of its recipe, of its table and of its calibration.

    `kind` is the model's: preview, hub, folder or file. `checker` is the safety checker that every picture passed, as
    the rows name it, empty for the preview. `table` is empty in releases of older versions, `calibration`
    where people have judged nothing. `searched` says that duplicates were looked for, `format` how the release is laid
    out. As text it is a comment on a line of its own, which `parse` finds in a README.
    """

    rows: str
    recipe: str
    kind: str
    table: str = ""
    calibration: str = ""
    searched: bool = True
    checker: str = ""
    format: str = FORMAT

    @classmethod
    def parse(cls, text: str) -> BuildInfo | None:
        """Return the last build info in a text that is a line of its own; None where there is none.

        The card ends in it. What looks like one within another line, such as a table's name, is not one.
        """
        *_, last = (None, *_LINE.finditer(text))
        if last is None:
            return None
        facts = last.groupdict(default="")
        searched, checker = not facts.pop("searched"), unquote(facts.pop("checker"))
        format = facts.pop("format") or "1"
        return cls(**facts, searched=searched, checker=checker, format=format)

    @classmethod
    def read(cls, release: Path) -> BuildInfo | None:
        """That of a release folder; None for any other folder."""
        path = release / "README.md"
        try:
            return cls.parse(path.read_text(encoding="utf-8")) if path.is_file() else None
        except (OSError, UnicodeDecodeError):
            return None

    def __str__(self) -> str:
        table = f"table {self.table}, " if self.table else ""
        calibration = f", calibration {self.calibration}" if self.calibration else ""
        unsearched = "" if self.searched else ", unsearched"
        checker = f", checker {quote(self.checker, safe='/@:+')}" if self.checker else ""
        format = f", format {self.format}" if self.format != "1" else ""
        by = f"recipe {self.recipe}, {table}model {self.kind}{checker}{calibration}{unsearched}{format}"
        return f"<!-- built from {self.rows}, {by} -->"

    @property
    def is_preview(self) -> bool:
        """True where the pictures are drawings of the built-in preview."""
        return self.kind == "preview"


_LINE = re.compile(
    r"^<!-- built from (?P<rows>\S+), recipe (?P<recipe>\S+), (table (?P<table>\S+), )?model (?P<kind>\w+)"
    r"(, checker (?P<checker>[^\s,]+))?(, calibration (?P<calibration>[^\s,]+))?(?P<searched>, unsearched)?"
    r"(, format (?P<format>\d+))? -->\r?$",
    re.MULTILINE,
)


def recipe_toml(recipe: BuildRecipe) -> str:
    """Return the table as it was given, but with the models and the commits it was built with; --spec reads it.

    Of a local model it says the name, not where it lies. The line that tells editors of the schema beside the table
    stays behind.
    """
    model = recipe.model
    document = tomlkit.parse(re.sub(r"\A#:schema .*\n", "", recipe.toml))
    document.setdefault("recipe", tomlkit.table()).update(_models(recipe))
    for check in recipe.checks:
        if check.model and check.model.kind != "preview":
            pinned = {"revision": check.model.revision} if check.model.kind == "hub" else {}
            document["checks"][check.name].update({check.model_key: check.model.name, **pinned})
    note = visible(f"built with {model.name}, revision {model.revision}")
    return f"# {note}; fingerprint {recipe.fingerprint}\n\n{tomlkit.dumps(document).rstrip()}\n"


def _models(recipe: BuildRecipe) -> dict[str, Any]:
    """Return what [recipe] says of the models that a build was made with, Hub models by their commit."""
    asked, model = recipe.spec.recipe, recipe.model
    keys = {"model": asked.model, "revision": model.revision if model.kind == "hub" else asked.revision}
    if model.kind == "hub" and model.file:
        keys["file"] = model.file
    for key, other in (("vae", recipe.vae), ("safety_checker", recipe.safety_checker)):
        if other and (other.kind, other.name) != (model.kind, model.name):  # the model's own is found with it
            pinned = {f"{key}_revision": other.revision} if other.kind == "hub" else {}
            keys.update({key: other.name, **pinned})
    return keys


def table_digest(toml: str) -> str:
    """One digest of all that a table in TOML says; comments and the way it is written are not in it."""
    return fingerprint(tomllib.loads(toml))
