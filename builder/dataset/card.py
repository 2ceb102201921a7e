"""The release's README.md: YAML that the Hub and `datasets` read, and a datasheet of what was counted in the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import DatasetInfo
from huggingface_hub import DatasetCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agfd30k import SPLITS
from builder.dataset.statistics import Census
from builder.raw.calibration_file import Kept
from builder.spec.criteria import CLASSIFIER, HAAR

TEMPLATE = Path(__file__).resolve().parents[2] / "dataset_card" / "README.md.jinja"
TAGS = ["synthetic", "ai-generated", "stable-diffusion", "face", "faces", "face-attributes", "robustness", "deepfake"]
SIZES = (
    *[(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")],
    *[(10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B")],
)
"""The Hub's size categories, by their upper end."""


def render(
    recipe: dict[str, Any],
    configs: dict[str, dict],
    census: Census,
    sheets: list[str],
    calibrated: Kept | None,
    mark: str,
    name: str,
    searched: bool = True,
) -> str:
    """The whole README.md.

    `configs` maps a config to {"features", "patterns": {split: glob}, "splits": {split: (rows, bytes)}, "download"};
    `sheets` names the contact sheets in assets/, `calibrated` is how far people agree with the verifier, `searched`
    says whether duplicates were looked for in these very pictures.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["count"] = "{:,}".format
    environment.filters["share"] = lambda share: "-" if share is None else f"{share:.2f}"
    return environment.get_template(TEMPLATE.name).render(
        card_data=_metadata(recipe, configs, census).to_yaml(),
        recipe=recipe,
        configs=configs,
        splits=SPLITS,
        census=census,
        composition=census.features(recipe),
        checks=[_check(check, recipe["spec"], searched) for check in recipe["checks"]],
        calibrated=calibrated.content if calibrated else None,
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
    size = next(name for most, name in SIZES if total < most)
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


def _check(check: dict[str, Any], spec: dict[str, Any], searched: bool) -> dict[str, str]:
    """A check that was made: its name, what it asks for, with which limits, and the model that it looks with."""
    name, limits = check["name"], spec["checks"][check["name"]]
    says = {"integrity": _integrity, "face": _face, "attribute": _attribute, "duplicates": _duplicates}[name]
    model = check["model"] and "{name}, revision `{revision}`".format(**check["model"])
    if name == "face" and not model:
        model = "OpenCV's Haar cascades" if limits["detector"] == HAAR else "that of `attribute`"
    said = says(limits, spec["features"]) if searched or name != "duplicates" else "a perceptual hash; not compared yet"
    return {"name": name, "says": said, "model": model or "none"}


def _integrity(limits: dict[str, Any] | None, features: list[dict[str, Any]]) -> str:
    says = "the right size, neither black nor one colour"
    if limits is None:
        return says
    blurred = [f"`{feature['name']}`" for feature in features if not feature["check"]["sharp"]]
    but = f" (not for {', '.join(blurred)})" if blurred else ""
    return f"{says}; variance of the Laplacian at least {limits['sharpness']:g}{but}, noise at most {limits['noise']:g}"


def _face(limits: dict[str, Any], features: list[dict[str, Any]]) -> str:
    if limits["detector"] == CLASSIFIER:
        return "exactly one face"
    some = [f"`{feature['name']}`" for feature in features if feature["check"]["face"] != "one"]
    but = f"; covered or turned away, where there may be none, for {', '.join(some)}" if some else ""
    return f"exactly one face, at least {limits['smallest']:g} of the picture's height (or what the table says){but}"


def _attribute(limits: dict[str, Any], features: list[dict[str, Any]]) -> str:
    own = {f"`{feature['name']}`": feature["check"] for feature in features}
    dark = [f"{name} by a mean luminance under {c['darker_than']:g}" for name, c in own.items() if c["darker_than"]]
    light = [
        f"{name} by nearly white pixels over {c['highlights_over']:g}"
        for name, c in own.items()
        if c["highlights_over"]
    ]
    other = [f"{name} {c['threshold']:g}" for name, c in own.items() if c["threshold"] is not None]
    least = f"score of the feature at least {limits['threshold']:g}" + (f" ({', '.join(other)})" if other else "")
    lit = f"; {', '.join([*dark, *light])}" if dark or light else ""
    fails = "made again" if limits["on_fail"] == "reject" else "kept and not verified"
    return f"{least}, scores of sex and age at least {limits['person']:g}{lit}; what fails is {fails}"


def _duplicates(limits: dict[str, Any], features: list[dict[str, Any]]) -> str:
    near, cell = limits["radius"], limits["radius_in_cell"]
    return f"a perceptual hash more than {near} of 64 bits from any other's, more than {cell} within a feature and sex"


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
