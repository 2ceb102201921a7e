"""The release's README.md: the YAML that the Hub and `datasets` read, and a text of what was counted in the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from datasets import DatasetInfo
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agfd30k import SPLITS

TEMPLATE = Path(__file__).resolve().parent.parent / "dataset_card" / "README.md.jinja"


def render(
    recipe: dict[str, Any], configs: dict[str, dict], composition: list[dict], sheets: list[str], mark: str, name: str
) -> str:
    """The whole README.md.

    `configs` maps a config to {"features", "patterns": {split: glob}, "splits": {split: (rows, bytes)}, "download"};
    `composition` has a dict per feature: attribute, feature, asked, made, rejected, unfilled; `sheets` names the
    contact sheets in assets/.
    """
    yaml_part = {
        "pretty_name": recipe["spec"]["name"],
        "configs": [_config(name, config) for name, config in configs.items()],
        "dataset_info": [_info(name, config) for name, config in configs.items()],
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), undefined=StrictUndefined, keep_trailing_newline=True
    )
    text = environment.get_template(TEMPLATE.name).render(
        recipe=recipe,
        configs=configs,
        splits=SPLITS,
        composition=composition,
        sheets=sheets,
        mark=mark,
        name=name,
        preview=recipe["model"]["kind"] == "preview",
    )
    return f"---\n{yaml.safe_dump(yaml_part, sort_keys=False, allow_unicode=True, width=1000)}---\n{text}"


def _config(name: str, config: dict) -> dict:
    files = [{"split": split, "path": config["patterns"][split]} for split in config["splits"]]
    return {"config_name": name, **({"default": True} if name == "all" else {}), "data_files": files}


def _info(name: str, config: dict) -> dict:
    """dataset_info of a config; split sizes are what keeps `datasets` from serving stale rows out of its cache."""
    splits = [
        {"name": split, "num_bytes": size, "num_examples": rows} for split, (rows, size) in config["splits"].items()
    ]
    info = DatasetInfo(
        config_name=name,
        features=config["features"],
        splits=splits,
        download_size=config["download"],
        dataset_size=sum(size for _, size in config["splits"].values()),
    )
    return info._to_yaml_dict()
