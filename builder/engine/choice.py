"""Which engine an option asks for."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.engine.ray import Ray


class Kind(StrEnum):
    """The words of `--engine`."""

    HERE = "here"
    RAY = "ray"


def chosen(kind: Kind | None, gpus: bool = False) -> Ray | None:
    """Return the cluster where it is asked for, or RAY_ADDRESS names one and nothing else is asked for; None for this
    machine, where a stage knows best how many processes its work is worth. With `gpus` each task has a GPU of its own.
    Raises UserError where Ray is missing.
    """
    if kind is Kind.RAY or (kind is None and os.environ.get("RAY_ADDRESS")):
        from builder.engine.ray import Ray

        return Ray(gpus=gpus)
    return None
