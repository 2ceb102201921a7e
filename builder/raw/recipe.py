"""recipe.json: the resolved table, the exact models and the settings that change files, under one fingerprint."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from builder.common import documents
from builder.models.identity import CheckVersion, ModelId, Source
from builder.spec.criteria import CLASSIFIER, LATER
from builder.spec.spec import Spec, fingerprint, spec_of


@dataclass(frozen=True)
class Settings:
    """What changes files beside the table: how pictures are encoded, and pictures a shard."""

    image_format: str
    shard_size: int


@dataclass(frozen=True)
class BuildRecipe:
    """What every picture of a build is made from. `toml` is the table's text, kept for reading.

    `safety_checker` is the one that every picture passed, None for the preview alone; `vae` is what decodes in place of
    the model's own.

    A local model is known by its name and digest, not by where it lies. The licence, the questions to people and the
    table's text change no picture, so they are not in the fingerprint.
    """

    spec: Spec
    model: ModelId
    checks: tuple[CheckVersion, ...]
    settings: Settings
    toml: str
    fingerprint: str
    safety_checker: ModelId | None = None
    vae: ModelId | None = None

    @classmethod
    def of(
        cls,
        spec: Spec,
        source: Source,
        toml: str,
        settings: Settings,
        checks: Sequence[CheckVersion] = (),
        safety_checker: ModelId | None = None,
        vae: ModelId | None = None,
    ) -> BuildRecipe:
        """Return the recipe of a table with these exact models."""
        table = spec.as_dict()
        if source.kind in ("folder", "file"):
            table["recipe"].update(model=source.name, revision=source.revision)
        for key, other in (("vae", vae), ("safety_checker", safety_checker)):
            if other and other.kind == "folder" and other.name != source.name:
                table["recipe"][key] = other.name
        for check in checks:
            section = table["checks"][check.name]
            if check.model and check.model.kind in ("folder", "file") and section[check.model_key] != CLASSIFIER:
                section[check.model_key] = check.model.name
        content = _content(table, source.id, checks, settings, safety_checker, vae)
        digest = _fingerprint(content)
        return cls(spec_of(content), source.id, tuple(checks), settings, toml, digest, safety_checker, vae)

    @classmethod
    @lru_cache(maxsize=8)  # a run reads the same one several times, and checking a table takes a while
    def parse(cls, text: str) -> BuildRecipe:
        """Return the recipe that a recipe.json holds.

        Raises ValueError for any other text, and for one that was edited: what it says gives another fingerprint then.
        """
        try:
            document = documents.parse(text.encode())
            tomllib.loads(document["toml"])
            recipe = cls(
                spec=spec_of(document),
                model=ModelId(**document["model"]),
                checks=tuple(CheckVersion.of(check) for check in document["checks"]),
                settings=Settings(**document["settings"]),
                toml=document["toml"],
                fingerprint=document["fingerprint"],
                safety_checker=_model(document["safety_checker"]),
                vae=_model(document["vae"]),
            )
        except (AttributeError, LookupError, RecursionError, TypeError) as error:
            raise ValueError(f"not a recipe: {error}") from None
        if _fingerprint(recipe._content()) != recipe.fingerprint:
            raise ValueError("its fingerprint is that of another recipe")
        return recipe

    def document(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values; `labels` are what the loader reads."""
        return {**self._content(), "labels": self.spec.labels, "toml": self.toml, "fingerprint": self.fingerprint}

    def _content(self) -> dict[str, Any]:
        spec = self.spec.as_dict()
        return _content(spec, self.model, self.checks, self.settings, self.safety_checker, self.vae)

    def __str__(self) -> str:
        return json.dumps(self.document(), indent=1, ensure_ascii=False)

    @property
    def made_by(self) -> dict[str, str]:
        """What every row says of the models: which made its picture, and which safety checker passed it."""
        checker = str(self.safety_checker) if self.safety_checker else ""
        return {"model": self.model.name, "model_revision": self.model.revision, "safety_checker": checker}

    @property
    def is_preview(self) -> bool:
        """True where the pictures are drawings of the built-in preview."""
        return self.model.kind == "preview"

    @property
    def is_checked(self) -> bool:
        """True where every picture has to pass a safety checker; drawings of the preview need none."""
        return self.safety_checker is not None or self.is_preview

    def differences(self, other: BuildRecipe) -> Iterator[str]:
        """Yield where another recipe differs, at most five places."""
        places: list[str] = []
        old, new = self.document(), other.document()
        for part in ("spec", "model", "vae", "safety_checker", "checks", "settings"):
            _compare(old[part], new[part], part, places)
        yield from places[:5]
        if len(places) > 5:
            yield f"and {len(places) - 5} more"


def _content(
    table: dict[str, Any],
    model: ModelId,
    checks: Sequence[CheckVersion],
    settings: Settings,
    safety_checker: ModelId | None,
    vae: ModelId | None,
) -> dict[str, Any]:
    return {
        "spec": table,
        "model": asdict(model),
        "vae": vae and asdict(vae),
        "safety_checker": safety_checker and asdict(safety_checker),
        "checks": [asdict(check) for check in checks],
        "settings": asdict(settings),
    }


def _fingerprint(content: dict[str, Any]) -> str:
    """Return the digest of what changes pictures, which the licence and the questions to people do not.

    The template changes none that its rows do not change, and twins, whose prompts every row says.
    """
    pixels = {key: value for key, value in content["spec"].items() if key not in ("license", "template")}
    pixels["features"] = [_pixels(feature) for feature in pixels["features"]]
    return fingerprint({**content, "spec": pixels})


def _pixels(feature: dict[str, Any]) -> dict[str, Any]:
    """What of a feature changes pictures; keys that came later and are not given are not there, as in older recipes."""
    check = {key: value for key, value in feature["check"].items() if value is not None or key not in LATER}
    return {key: value for key, value in feature.items() if key != "question"} | {"check": check}


def _model(document: dict[str, Any] | None) -> ModelId | None:
    return ModelId(**document) if document is not None else None


def _compare(old: Any, new: Any, where: str, found: list[str]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            _compare(old.get(key), new.get(key), f"{where}.{key}" if where else key, found)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new), 1):
            label = one.get("name", number) if isinstance(one, dict) else number
            _compare(one, other, f"{where}[{label}]", found)
    elif old != new:
        found.append(f"{where}: {_short(old)} there, {_short(new)} here")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
