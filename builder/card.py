"""The release's README.md: YAML that the Hub and `datasets` read, and a datasheet of what was counted in the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import DatasetInfo
from huggingface_hub import DatasetCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agfd30k import SPLITS
from builder.census import Census

TEMPLATE = Path(__file__).resolve().parent.parent / "dataset_card" / "README.md.jinja"
TAGS = ["synthetic", "ai-generated", "stable-diffusion", "face", "faces", "face-attributes", "robustness", "deepfake"]
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The Hub's size categories, by their upper end."""


def render(
    recipe: dict[str, Any], configs: dict[str, dict], census: Census, sheets: list[str], mark: str, name: str
) -> str:
    """The whole README.md.

    `configs` maps a config to {"features", "patterns": {split: glob}, "splits": {split: (rows, bytes)}, "download"};
    `sheets` names the contact sheets in assets/.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["count"] = "{:,}".format
    return environment.get_template(TEMPLATE.name).render(
        card_data=_metadata(recipe, configs, census).to_yaml(),
        recipe=recipe,
        configs=configs,
        splits=SPLITS,
        census=census,
        composition=census.features(recipe),
        sheets=[sheet for sheet in sheets if sheet != "all"],
        versions={name: ", ".join(sorted(found)) for name, found in sorted(census.versions.items())},
        minors=[group for group in recipe["labels"]["age_group"] if census.minors[group]],
        wishes=_wishes(recipe, census),
        wanted=sum(feature["male"] + feature["female"] for feature in recipe["spec"]["features"]),
        mark=mark,
        name=name,
        preview=recipe["model"]["kind"] == "preview",
    )


def _metadata(recipe: dict[str, Any], configs: dict[str, dict], census: Census) -> DatasetCardData:
    """What stands at the head of the card, between two lines of dashes."""
    total = sum(census.made.values())
    size = next((name for most, name in SIZES if total < most), "n>1M")
    return DatasetCardData(
        pretty_name=recipe["spec"]["name"],
        license=recipe["spec"]["license"],
        language=["en"],
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        task_categories=["image-classification", "text-to-image"],
        size_categories=[size],
        tags=[*TAGS, *(["preview"] if recipe["model"]["kind"] == "preview" else [])],
        configs=[_config(name, config) for name, config in configs.items()],
        dataset_info=[_info(name, config) for name, config in configs.items()],
    )


def _wishes(recipe: dict[str, Any], census: Census) -> list[dict[str, Any]]:
    """What the table asks a prompt for, feature by feature: its own words, and ages."""
    built, rows = {feature for _, feature, _ in census.made}, []
    for feature in recipe["spec"]["features"]:
        if feature["name"] in built:
            words = [word for sex, some in feature["phrases"].items() if feature[sex] for word in some if word]
            rows.append({"feature": feature["name"], "phrases": list(dict.fromkeys(words)), "ages": feature["ages"]})
    return rows


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
