"""Which exact model is meant: values that rows, recipes and cards hold, free of any library that finds or loads one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class File:
    """A file of a repository: its path, its size in bytes, and the digest of its content where the Hub tells it."""

    path: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class ModelId:
    """Which exact model it is: `kind` is preview, hub, folder or file, `revision` a commit or a digest.

    `file` is the one file that is read of a repository or folder, "" for its folders; `sha256` its digest, where known.
    """

    kind: str
    name: str
    revision: str
    file: str = ""
    sha256: str = ""

    def __str__(self) -> str:
        where = f"{self.name}@{self.revision}" + (f":{self.file}" if self.file else "")
        return where + (f" sha256:{self.sha256}" if self.sha256 else "")


@dataclass(frozen=True)
class Source:
    """A model to load. `kind` is preview, hub, folder or file; `name` and `revision` go into every row.

    `files` are what is read of a repository, and have to be downloaded of one on the Hub: then `location` is the folder
    they lie in. `config` says what is in a single file that comes without: a folder, or a Hub repository.
    """

    kind: str
    name: str
    location: str
    revision: str
    file: str = ""
    sha256: str = ""
    files: tuple[File, ...] = ()
    config: Source | None = None

    @property
    def id(self) -> ModelId:
        """Which exact model it is, wherever it lies."""
        return ModelId(self.kind, self.name, self.revision, self.file, self.sha256)


@dataclass(frozen=True)
class CheckVersion:
    """A check of a build: its name and version, and the exact model it looks with, if it has one."""

    name: str
    version: int
    model: ModelId | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> CheckVersion:
        """Return a check as recipe.json and checks.json hold it."""
        model = document["model"]
        return cls(document["name"], document["version"], model and ModelId(**model))

    @property
    def model_key(self) -> str:
        """The key of the check's section in a table that names its model."""
        return "model" if self.name == "attribute" else "detector"
