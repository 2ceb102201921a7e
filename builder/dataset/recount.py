"""What a release holds, counted from the release itself: for cards that are written where no raw build is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import agfd30k
from builder import preview
from builder.common.errors import UserError
from builder.dataset.build_info import BuildInfo
from builder.dataset.first_page import Candidates, FirstPage
from builder.dataset.labels import Row, label_rows
from builder.dataset.statistics import CHECKS_FILE, SCORES, ChecksReport, FeatureCounts, Statistics
from builder.models.identity import ModelId
from builder.raw import calibration_file
from builder.raw.calibration_file import Kept
from builder.raw.recipe import BuildRecipe, Settings
from builder.spec import table
from builder.spec.criteria import Duplicates
from builder.spec.faults import SpecError
from builder.spec.spec import ADULT, Spec

CHECKER = re.compile(r"(?P<name>[^@]+)@(?P<revision>[^: ]+)(:(?P<file>\S+))?( sha256:(?P<sha256>\w+))?")
"""A safety checker as the rows name it, `str` of its ModelId."""


@dataclass
class KnownPage(Candidates):
    """A first page that is there already: of these splits."""

    splits: tuple[str, ...] = ()

    def first_page(self, made: Counter) -> FirstPage:
        """Return which splits have one; its rows are not looked at."""
        return FirstPage({split: [] for split in self.splits})


@dataclass
class Recount:
    """Counts rows into `statistics`; `seeds` are those of pictures that may have a twin, where there are twins, and
    `found` how many pictures have a face's five points.
    """

    statistics: Statistics = field(default_factory=Statistics)
    seeds: dict[str, int] = field(default_factory=dict)
    pairs: list[tuple[str, str, int]] = field(default_factory=list)
    found: int = 0

    def add(self, split: str, row: Row) -> None:
        """Count a row of labels, classes by their names."""
        counts = self.statistics
        counts.made[row["attribute"], row["feature"], split] += 1
        counts.people[row["sex"], row["ethnicity"], row["age_group"]] += 1
        counts.minors[row["age_group"]] += row["age"] < ADULT
        counts.verified[row["feature"], row["verified"]] += 1
        counts.prompts.add(split, row["prompt"])
        self.found += row.get("nose_x") is not None
        if "twin_of" in row:
            self._pair(row)

    def _pair(self, row: Row) -> None:
        if row["twin_of"] is None:
            self.seeds[row["id"]] = row["seed"]
        else:
            self.pairs.append((row["twin_of"], row["id"].split("-")[1], row["seed"]))

    def whole(self, spec: Spec, reports: Iterable[FeatureCounts], versions: dict[str, set[str]]) -> Statistics:
        """Return the statistics, with what was rejected and given up as `reports` say; call it once."""
        counts = self.statistics
        for of, feature, seed in self.pairs:
            counts.twins[feature] += 1
            counts.same_seed[feature] += self.seeds.get(of) == seed
        for report in reports:
            counts.unfilled[report.feature] = report.unfilled
            counts.rejected.update({(report.feature, reason): n for reason, n in report.reasons.items()})
            if report.rejected_scores is not None:
                counts.scores[report.feature] = list(report.rejected_scores)
        counts.versions = versions
        places = [spec.labels[name] for name in ("sex", "ethnicity", "age_group")]
        in_order = sorted(counts.people, key=lambda person: [names.index(n) for names, n in zip(places, person)])
        counts.people = Counter({person: counts.people[person] for person in in_order})
        attributes, features = counts.table(spec).labels["attribute"], counts.table(spec).labels["feature"]
        made = sorted(counts.made, key=lambda key: (attributes.index(key[0]), features.index(key[1]), key[2]))
        counts.made = Counter({key: counts.made[key] for key in made})
        return counts


@dataclass(frozen=True)
class Told:
    """What a release folder, or only its small files, tells of itself beside its rows."""

    folder: Path
    text: str
    info: BuildInfo
    spec: Spec
    checks: ChecksReport
    calibration: Kept | None

    @classmethod
    def of(cls, folder: Path, name: str = "") -> Told:
        """Read the small files of a release that is called `name`. Raises UserError where one is missing or damaged."""
        name = name or str(folder)
        try:
            text, info = (folder / "README.md").read_text(encoding="utf-8"), BuildInfo.read(folder)
            checks, spec = ChecksReport.read(folder), table.load(folder / "recipe.toml")
            spec = preview.fitted(spec) if spec.recipe.model == preview.NAME else spec
        except SpecError as error:
            raise UserError(f"{name}: its recipe.toml cannot be read: {error}") from None
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:100]
            raise UserError(
                f"{name}: no release of this version, for its card or {CHECKS_FILE} cannot be read ({reason})"
            ) from None
        if info is None:
            raise UserError(f"{name}: no release of this tool, for its card does not say what it was built from")
        path = folder / "assets" / calibration_file.NAME
        data = path.read_bytes() if info.calibration and path.is_file() else b""
        content = calibration_file.parsed(data)
        return cls(folder, text, info, spec, checks, Kept(data, content) if content else None)

    @property
    def versions(self) -> dict[str, set[str]]:
        """The versions of what made the pictures, as the card's table has them below the line of the recipe."""
        rows = self.text.partition("\n| recipe |")[2].partition("\n\n")[0].splitlines()[1:]
        cells = [row.strip("| ").split(" | ") for row in rows if row.startswith("| ")]
        return {name: set(some.split(", ")) for name, some in (pair for pair in cells if len(pair) == 2)}

    @property
    def duplicates(self) -> Duplicates | None:
        """When a picture is another one again; None where the build was not checked for that."""
        is_checked = any(check.name == "duplicates" for check in self.checks.checks)
        return self.spec.checks.duplicates if is_checked else None

    @property
    def counts(self) -> dict[str, FeatureCounts]:
        """What the checks found, by feature."""
        return {counts.feature: counts for counts in self.checks.features}

    def recipe(self) -> BuildRecipe:
        """Return the recipe, as far as a card shows it."""
        _, row = next(label_rows(self.folder))
        model = ModelId(self.info.kind, row["model"], row["model_revision"])
        toml = (self.folder / "recipe.toml").read_text(encoding="utf-8")
        part = CHECKER.fullmatch(self.info.checker)
        checker = ModelId("hub", **part.groupdict(default="")) if part else None
        settings = Settings("", 0)
        return BuildRecipe(self.spec, model, self.checks.checks, settings, toml, self.info.recipe, checker)


def summed(one: FeatureCounts, other: FeatureCounts) -> FeatureCounts:
    """Return the counts of a feature of two releases that have no picture in common."""
    reasons = Counter(one.reasons) + Counter(other.reasons)
    scores: Any = None
    if one.rejected_scores or other.rejected_scores:
        none = (0,) * SCORES
        scores = tuple(a + b for a, b in zip(one.rejected_scores or none, other.rejected_scores or none))
    made, rejected = one.made + other.made, one.rejected + other.rejected
    numbers = {key: getattr(one, key) + getattr(other, key) for key in ("asked", "verified", "not_judged", "unfilled")}
    return FeatureCounts(
        attribute=one.attribute,
        feature=one.feature,
        made=made,
        rejected=rejected,
        reasons=dict(sorted(reasons.items())),
        tries=(made + rejected) / made if made else None,
        rejected_scores=scores,
        **numbers,
    )


def together(*versions: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return versions by name, of several releases."""
    names = dict.fromkeys(name for some in versions for name in some)
    return {name: set().union(*(some.get(name, set()) for some in versions)) for name in names}


def with_table(recipe: BuildRecipe, statistics: Statistics) -> BuildRecipe:
    """Return a recipe whose table has a row of the twins, where there are some."""
    return replace(recipe, spec=statistics.table(recipe.spec))


def page_splits(names: Iterable[str]) -> tuple[str, ...]:
    """Return the splits that have a first page, by the names of a release's files."""
    there = {
        name.removeprefix("first_page/").removesuffix(".parquet") for name in names if name.startswith("first_page/")
    }
    return tuple(split for split in agfd30k.SPLITS if split in there)
