"""The exact models of a build: found first, then downloaded, then loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from builder.checks import loading
from builder.models import download, source
from builder.models.source import Source
from builder.raw.recipe import BuildRecipe
from builder.spec.spec import Spec


@dataclass(frozen=True)
class BuildModels:
    """What a build makes and judges pictures with. The preview has no `safety_checker`; most tables name no `vae`."""

    model: Source
    vae: Source | None
    safety_checker: Source | None
    checks: dict[str, Source]

    @classmethod
    def of(
        cls, spec: Spec, recorded: BuildRecipe | None, config: Path | None, safety_checker: str | None, half: bool
    ) -> BuildModels:
        """Find the models that a table asks for; what an earlier run `recorded` of the same words is kept.

        Raises UserError for one that cannot be had, or that does not run here.
        """
        recipe = spec.recipe
        same = recorded if recorded and recorded.spec.recipe == recipe else None
        model = source.resolve(recipe.model, recipe.revision, same and same.model, config, recipe.file, half)
        return cls(
            model=model,
            vae=source.resolve_vae(recipe, same and same.vae, half),
            safety_checker=source.resolve_checker(model, safety_checker, recipe, same and same.safety_checker),
            checks=loading.resolve(spec, recorded.checks if recorded else ()),
        )

    def __iter__(self) -> Iterator[Source]:
        """Yield all of them, in the order in which they are downloaded."""
        for each in (self.model, self.model.config, self.vae, self.safety_checker, *self.checks.values()):
            if each is not None:
                yield each

    def fetched(self, loud: bool = True) -> BuildModels:
        """Download what is missing; returns the models as they lie here. `loud` says how it goes."""
        download.fetch(self, loud)
        return replace(
            self,
            model=download.fetched(self.model),
            vae=self.vae and download.fetched(self.vae),
            safety_checker=self.safety_checker and download.fetched(self.safety_checker),
            checks={name: download.fetched(each) for name, each in self.checks.items()},
        )
