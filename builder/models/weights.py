"""Weights of a transformers model, none of them missing."""

from __future__ import annotations

from typing import Any


def whole(kind: type[Any], location: str, **options: Any) -> Any:
    """Return a model of which no weight is missing; the library itself would fill the gap with random ones."""
    model, report = kind.from_pretrained(location, output_loading_info=True, **options)
    if report["missing_keys"]:
        raise ValueError(f"{len(report['missing_keys'])} weights are missing, {min(report['missing_keys'])} first")
    return model
