"""The release's README.md: YAML that the Hub and `datasets` read, and a datasheet of what was counted in the data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from datasets import DatasetInfo, Features, Value
from huggingface_hub import DatasetCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agfd30k import COLUMNS, SPLITS
from builder.checks.attribute import MOST_MINOR
from builder.dataset import annotations_section
from builder.dataset.contents import Contents
from builder.dataset.markdown import Markdown, cell, code, literal, shown, tex, text, visible
from builder.dataset.parquet import ANNOTATIONS, Config, default_config, is_annotations
from builder.dataset.statistics import Statistics
from builder.models.identity import CheckVersion, ModelId
from builder.raw.recipe import BuildRecipe
from builder.spec.criteria import CLASSIFIER, HAAR, Attribute, Duplicates, Face, Integrity
from builder.spec.spec import Feature, Spec

TEMPLATE = Path(__file__).resolve().parents[2] / "dataset_card" / "README.md.jinja"
TAGS = ["synthetic", "ai-generated", "stable-diffusion", "face", "faces", "face-attributes", "robustness", "deepfake"]
YEAR = "2026"
"""Of the edition that is cited; a date of the day would give the same rows other bytes."""
WORDS = 2
"""Of a feature's own words so many are shown."""
SIZES = (
    *[(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M")],
    *[(10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B")],
)
"""The Hub's size categories, by their upper end."""


def render(contents: Contents, configs: dict[str, Config], sheets: list[str], name: str, appended: bool = False) -> str:
    """The whole README.md. `sheets` names the contact sheets in assets/, `name` is what the release is called, and
    `appended` says that rows were appended to it.
    """
    recipe, statistics, spec = contents.recipe, contents.statistics, contents.recipe.spec
    return (
        _environment()
        .get_template(TEMPLATE.name)
        .render(
            card_data=Markdown(_metadata(recipe, configs, statistics).to_yaml()),
            recipe=recipe,
            configs=configs,
            splits=SPLITS,
            statistics=statistics,
            composition=list(_composition(spec, statistics)),
            twins=list(_twins(statistics)),
            ages=_usual_ages(spec),
            columns=list(columns(configs[default_config(configs)].features)),
            labels=spec.labels,
            default=default_config(configs),
            paged=bool(statistics.first_page.of),
            appended=appended,
            checks=[_check(check, spec, contents.info.searched) for check in recipe.checks],
            calibrated=contents.calibration.content if contents.calibration else None,
            sheets=[sheet for sheet in sheets if sheet != "all"],
            versions={library: ", ".join(sorted(some)) for library, some in sorted(statistics.versions.items())},
            minors=[group for group in spec.age_groups if statistics.minors[group]],
            wanted=sum(feature.male + feature.female for feature in spec.features),
            shared=statistics.prompts.shared(),
            build_info=contents.info,
            citation=citation(recipe),
            annotations=_annotations(recipe, configs),
            name=name,
            preview=recipe.is_preview,
            checker=recipe.made_by["safety_checker"],
        )
    )


@cache
def _environment() -> Environment:
    """Return what renders the template: words are escaped wherever they come from, unless a filter says how else."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=shown,
    )
    environment.filters.update(code=code, cell=cell, literal=literal, plain=Markdown, link=_link)
    environment.filters["sql_list"] = _sql_list
    environment.filters["count"] = "{:,}".format
    environment.filters["share"] = lambda share: "-" if share is None else f"{share:.2f}"
    return environment


def citation(recipe: BuildRecipe) -> Markdown:
    """Return how the release is cited, in BibTeX."""
    key = re.sub(r"[^A-Za-z0-9.:-]+", "-", recipe.spec.release).strip("-") or "dataset"
    note = f"recipe {recipe.fingerprint[:12]}, model {tex(recipe.model.name)}"
    title = f"{tex(recipe.spec.name)}: generated, labelled faces for special cases"
    return Markdown(f"@misc{{{key},\n  title = {{{title}}},\n  year = {{{YEAR}}},\n  note = {{{note}}}\n}}")


def _metadata(recipe: BuildRecipe, configs: dict[str, Config], statistics: Statistics) -> DatasetCardData:
    """Return what stands at the head of the card, between two lines of dashes."""
    total = sum(statistics.made.values())
    size = next(name for most, name in SIZES if total < most)
    default = default_config(configs)
    return DatasetCardData(
        pretty_name=recipe.spec.name,
        license=recipe.spec.license,
        language=["en"],
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        task_categories=["image-classification", "text-to-image"],
        task_ids=["multi-class-image-classification"],
        size_categories=[size],
        tags=[*TAGS, *(["preview"] if recipe.is_preview else [])],
        configs=[_config(name, config, name == default) for name, config in configs.items()],
        dataset_info=[info(name, config, name == default or is_annotations(name)) for name, config in configs.items()],
    )


def _composition(spec: Spec, statistics: Statistics) -> Iterator[dict[str, Any]]:
    """Yield what the table asks for and what was made of it, feature by feature, with each one's number."""
    names = spec.labels["feature"]
    features = {feature.name: feature for feature in spec.features}
    for counts in statistics.features(spec):
        asks = _asks_for(features[counts.feature], _usual_ages(spec))
        yield {**vars(counts), "number": names.index(counts.feature), "asks_for": asks}


def _twins(statistics: Statistics) -> Iterator[dict[str, Any]]:
    """Yield how many pictures of a feature have a twin, and how many of these share their seed."""
    made: Counter = Counter()
    for (_, feature, _), count in statistics.made.items():
        made[feature] += count
    for feature, twins in statistics.twins.items():
        seeds = statistics.same_seed[feature]
        yield {"feature": feature, "made": made[feature], "twins": twins, "same_seed": seeds}


def _usual_ages(spec: Spec) -> tuple[int, ...]:
    """Return the ages in years that most features have."""
    return Counter(tuple(feature.ages) for feature in spec.features).most_common(1)[0][0]


def _asks_for(feature: Feature, usual: tuple[int, ...]) -> Markdown:
    """Return a feature's own words, and its ages where they are not the usual ones."""
    phrases = [word for sex, some in feature.phrases.items() if feature.quota(sex) for word in some if word]
    words = [cell(code(word)) for word in dict.fromkeys(phrases)]
    more = [f"{len(words) - WORDS} more"] if len(words) > WORDS + 1 else []
    ages = [] if tuple(feature.ages) == usual else [f"ages {', '.join(map(str, feature.ages))}"]
    return Markdown(", ".join([*(words[:WORDS] if more else words), *more, *ages]) or "nothing else")


def columns(schema: Features) -> Iterator[dict[str, Any]]:
    """Yield the columns with their types and what they hold; those that lie side by side and hold the same, as one."""
    for (kind, says), names in groupby(schema, key=lambda name: (_type(schema[name]), COLUMNS[name])):
        yield {"names": Markdown(", ".join(map(code, names))), "type": kind, "text": Markdown(says)}


def _type(kind: Any) -> str:
    """Return what a column's type is called."""
    return kind.dtype if isinstance(kind, Value) else type(kind).__name__


def _link(model: ModelId) -> Markdown:
    """Return a model's name, which leads to its page where it is one of the Hub's."""
    return Markdown(f"[{text(model.name)}](/{model.name})") if model.kind == "hub" else text(model.name)


def _sql_list(names: Sequence[str]) -> Markdown:
    """Return names as a list in SQL."""
    quoted = (visible(name).replace("'", "''") for name in names)
    return Markdown("[" + ", ".join(f"'{name}'" for name in quoted) + "]")


def _check(check: CheckVersion, spec: Spec, searched: bool) -> dict[str, str]:
    """Return a check that was made: its name, what it asks for, with which limits, and the model that it looks with."""
    limits = getattr(spec.checks, check.name)
    says = SAYS[check.name]
    model = f"{text(check.model.name)}, revision {cell(code(check.model.revision))}" if check.model else "none"
    if check.name == "face" and not check.model:
        model = "OpenCV's Haar cascades" if limits.detector == HAAR else "that of `attribute`"
    compared = searched or check.name != "duplicates"
    said = says(limits, spec.features) if compared else "a perceptual hash; not compared yet"
    return {"name": check.name, "says": Markdown(said), "model": Markdown(model)}


def _integrity(limits: Integrity | None, features: Sequence[Feature]) -> str:
    says = "the right size, neither black nor one colour"
    if limits is None:
        return says
    blurred = [f"`{feature.name}`" for feature in features if not feature.check.sharp]
    but = f" (not for {', '.join(blurred)})" if blurred else ""
    return f"{says}; strongest edges at least {limits.sharpness:g}{but}, noise at most {limits.noise:g}"


def _face(limits: Face, features: Sequence[Feature]) -> str:
    if limits.detector == CLASSIFIER:
        return "exactly one face"
    some = [f"`{feature.name}`" for feature in features if feature.check.face != "one"]
    but = f"; covered or turned away, where there may be none, for {', '.join(some)}" if some else ""
    return f"exactly one face, at least {limits.smallest:g} of the picture's height (or what the table says){but}"


def _attribute(limits: Attribute, features: Sequence[Feature]) -> str:
    own = {f"`{feature.name}`": feature.check for feature in features}
    dark = [f"{name} by a mean luminance under {c.darker_than:g}" for name, c in own.items() if c.darker_than]
    light = [
        f"{name} by nearly white pixels over {c.highlights_over:g}" for name, c in own.items() if c.highlights_over
    ]
    other = [f"{name} {c.threshold:g}" for name, c in own.items() if c.threshold is not None]
    least = f"score of the feature at least {limits.threshold:g}" + (f" ({', '.join(other)})" if other else "")
    lit = f"; {', '.join([*dark, *light])}" if dark or light else ""
    fails = "made again" if limits.on_fail == "reject" else "kept and not verified"
    young = f"no adult is kept who looks like a minor (`minor_score` {MOST_MINOR:g} or more, where it could be read)"
    return f"{least}, scores of sex and age at least {limits.person:g}{lit}; what fails is {fails}; {young}"


def _duplicates(limits: Duplicates, features: Sequence[Feature]) -> str:
    near, cell = limits.radius, limits.radius_in_cell
    return f"a perceptual hash more than {near} of 64 bits from any other's, more than {cell} within a feature and sex"


SAYS: dict[str, Callable[[Any, Sequence[Feature]], str]] = {
    "integrity": _integrity,
    "face": _face,
    "attribute": _attribute,
    "duplicates": _duplicates,
}


def _annotations(recipe: BuildRecipe, configs: dict[str, Config]) -> str:
    """Return the section of what the face detector saw, where the release has it as a config."""
    model = next((check.model for check in recipe.checks if check.name == "face"), None)
    if ANNOTATIONS not in configs or not model:
        return Markdown("")
    row = annotations_section.row(ANNOTATIONS, configs[ANNOTATIONS], model.name, model.sha256 or model.revision)
    return annotations_section.section([row])


def _config(name: str, config: Config, is_default: bool) -> dict[str, Any]:
    files = []
    for split, patterns in config.patterns.items():
        files.append({"split": split, "path": patterns if len(patterns) > 1 else patterns[0]})
    return {"config_name": name, **({"default": True} if is_default else {}), "data_files": files}


def info(name: str, config: Config, has_columns: bool) -> dict[str, Any]:
    """dataset_info of a config; split sizes are what keeps `datasets` from serving stale rows out of its cache.

    The columns that most configs have are said once, of the default config: they stand in every Parquet file too.
    """
    splits = [
        {"name": split, "num_bytes": size.bytes, "num_examples": size.rows} for split, size in config.splits.items()
    ]
    info = DatasetInfo(
        config_name=name,
        features=config.features if has_columns else None,
        splits=splits,
        download_size=config.download,
        dataset_size=sum(size.bytes for size in config.splits.values()),
    )
    return info._to_yaml_dict()
