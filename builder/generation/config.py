"""What a run is asked for: which part of which table, by which model, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from builder import preview
from builder.plan.plan import SHARD_SIZE, Plan
from builder.spec import table

SAFETY_CHECKER = "CompVis/stable-diffusion-safety-checker"


@dataclass(frozen=True)
class GenerateConfig:
    """One run of the builder. What changes pixels is in the table, or noted in the build's recipe.

    `model` replaces the table's: a Hub id, a diffusers folder, a .safetensors file, or "preview". `model_config` is the
    folder that says what is in a .safetensors file. `only` holds "attribute" or "attribute/feature" words, `scale`
    multiplies every quota, `limit` caps the whole, `without` names checks that are left out. `safety_checker` is used
    where the model has none of its own.
    """

    raw: Path = Path("agfd30k-raw")
    table: Path = table.DEFAULT
    model: str | None = None
    model_config: Path | None = None
    only: tuple[str, ...] = ()
    scale: float = 1.0
    limit: int | None = None
    batch_size: int = 8
    shard_size: int = SHARD_SIZE
    image_format: str = "png"
    safety_checker: str = SAFETY_CHECKER
    unchecked_adults: bool = False
    without: tuple[str, ...] = ()

    @cached_property
    def plan(self) -> Plan:
        """The pictures to make. Raises SpecError or UserError for a table or a choice that is wrong."""
        spec = table.load(self.table)
        spec = spec.changed(recipe=spec.recipe.changed(model=self.model or spec.recipe.model))
        if spec.recipe.model == preview.NAME:
            spec = preview.fitted(spec)
        spec = spec.changed(checks=spec.checks.without(self.without))
        return Plan(spec, self.only, self.scale, self.limit, self.shard_size)

    @property
    def toml(self) -> str:
        """The table's text, kept in the recipe for reading."""
        return self.table.read_text(encoding="utf-8")
