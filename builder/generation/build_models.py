"""The exact models of a build: found first, then downloaded, then loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from builder.checks import loading
from builder.models import download, source
from builder.models.identity import ModelId, Source
from builder.raw.recipe import BuildRecipe
from builder.spec.spec import Recipe, Spec


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
        kept = _kept(recorded, recipe)
        model = source.resolve(recipe.model, recipe.revision, kept.get("model"), config, recipe.file, half)
        return cls(
            model=model,
            vae=source.resolve_vae(recipe, kept.get("vae"), half),
            safety_checker=source.resolve_checker(model, safety_checker, recipe, kept.get("safety_checker")),
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


def _kept(recorded: BuildRecipe | None, recipe: Recipe) -> dict[str, ModelId | None]:
    """Return the models that an earlier run settled on, if they were asked for in the same words."""
    if recorded is None:
        return {}
    there = recorded.spec.recipe
    if (there.model, there.revision, there.file) != (recipe.model, recipe.revision, recipe.file):
        return {}
    kept = {"model": recorded.model, "safety_checker": recorded.safety_checker}
    if (there.vae, there.vae_revision) == (recipe.vae, recipe.vae_revision):
        kept["vae"] = recorded.vae
    return kept
