"""What a run is asked for: which part of which table, by which model, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from builder import preview
from builder.common.address import Address
from builder.common.errors import UserError
from builder.models import source
from builder.plan.plan import SHARD_SIZE, Plan
from builder.raw.shard_writer import FORMATS
from builder.raw.signing import Signer
from builder.spec import prompts, table
from builder.spec.faults import SpecError


@dataclass(frozen=True)
class GenerateConfig:
    """One run of the builder. What changes pixels is in the table, or noted in the build's recipe.

    `model` replaces the table's: a Hub id (also owner/name@revision), a diffusers folder, a .safetensors file, or
    "preview". `model_config` is the folder that says what is in a .safetensors file. `only` holds "attribute" or
    "attribute/feature" words, `scale` multiplies every quota, `limit` caps the whole, `without` names checks that are
    left out. `batch_size` pictures are made at once on each process; None: as many as suit the device. `safety_checker`
    takes the place of the model's own. `cpu` makes pictures on the CPU, whatever the machine has. `signer` signs every
    picture that is written; it is no part of the recipe. `keep_rejected` is how many rejected pictures of each reason
    are kept for a look, beside the build. `twins` adds to every picture of a feature its twin without it. `store` is
    the address that finished shards are sent to, `raw` is then its `workspace`.
    """

    raw: Path = Path("agfd30k-raw")
    table: Path = table.DEFAULT
    model: str | None = None
    model_config: Path | None = None
    only: tuple[str, ...] = ()
    scale: float = 1.0
    limit: int | None = None
    batch_size: int | None = None
    shard_size: int = SHARD_SIZE
    image_format: str = "png"
    safety_checker: str | None = None
    cpu: bool = False
    without: tuple[str, ...] = ()
    keep_rejected: int = 0
    twins: bool = False
    store: Address | None = None
    signer: Signer | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raise UserError for a value that no run can have, before anything is written."""
        whole = {"batch_size": self.batch_size, "shard_size": self.shard_size, "limit": self.limit}
        for name, value in whole.items():
            if value is not None and value < 1:
                raise UserError(f"{name} must be a whole number, 1 or more, got {value}")
        if self.keep_rejected < 0:
            raise UserError(f"keep_rejected must be a whole number, 0 or more, got {self.keep_rejected}")
        if not 0 < self.scale <= 1:
            raise UserError(f"scale must be a number above 0 and at most 1, got {self.scale}")
        if self.image_format not in FORMATS:
            raise UserError(f"image_format must be one of {', '.join(FORMATS)}, got {self.image_format!r}")
        for name in ("only", "without"):
            if isinstance(getattr(self, name), str):
                raise UserError(f"{name} must be a list of words, got {getattr(self, name)!r}")

    @cached_property
    def plan(self) -> Plan:
        """The pictures to make. Raises SpecError or UserError for a table or a choice that is wrong."""
        spec = table.load(self.table)
        if self.model and self.model != spec.recipe.model:
            name, revision = source.named(self.model)
            file = spec.recipe.file if name == spec.recipe.model else None
            spec = spec.changed(recipe=spec.recipe.changed(model=name, revision=revision, file=file))
        if spec.recipe.model == preview.NAME:
            spec = preview.fitted(spec)
        spec = spec.changed(checks=spec.checks.without(self.without))
        plan = Plan(spec, self.only, self.scale, self.limit, self.shard_size, self.twins)
        if self.twins and not plan.chosen_twins:
            raise UserError("--twins: nothing that was chosen has twins: features without words of their own have none")
        if self.twins:
            _require_sound_twins(plan)
        return plan

    @property
    def toml(self) -> str:
        """The table's text, kept in the recipe for reading."""
        return self.table.read_text(encoding="utf-8")


def _require_sound_twins(plan: Plan) -> None:
    """Raise UserError where a twin's prompt breaks a rule, above all one for minors, which the row's own may obey."""
    for feature in {cell.feature.name: cell.plain for cell in plan.cells if cell.plain and cell.chosen}.values():
        if broken := [*feature.faults()] or [*prompts.faults(plan.spec, feature)]:
            raise UserError(f"--twins: twins of {feature.name}: {SpecError.of(*broken)}")
