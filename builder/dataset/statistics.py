"""What a raw build holds, counted from its rows and receipts."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len
from pydantic import BaseModel, ConfigDict

import agfd30k
from agfd30k import SPLITS
from builder.dataset.first_page import Candidates, FirstPage
from builder.engine.engine import Engine
from builder.engine.here import Here
from builder.engine.ordered import ordered
from builder.models.identity import CheckVersion
from builder.raw.build import Finished, RawBuild
from builder.raw.lines import ShardLines
from builder.raw.recipe import BuildRecipe
from builder.spec.spec import ADULT, Feature, Spec
from builder.spec.twins import with_twins

CHECKS_FILE = "checks.json"
"""Its name among a release's assets."""
SCORES = 20
"""Bins of a score from 0 to 1."""
ROW = 0.15e-3
"""Seconds in which a row is read and counted, to choose how many processes."""


class FeatureCounts(BaseModel):
    """Pictures of a feature that were asked for, made, verified and not judged; tries that were rejected, in all and by
    reason; pictures given up; tries for each picture, None where there is none.

    `rejected_scores` are the attribute scores of the rejected tries in SCORES bins, from 0 to 1, or None.
    """

    model_config = ConfigDict(frozen=True)

    attribute: str
    feature: str
    asked: int
    made: int
    verified: int
    not_judged: int
    rejected: int
    reasons: dict[str, int]
    unfilled: int
    tries: float | None
    rejected_scores: Annotated[tuple[int, ...], Len(SCORES, SCORES)] | None


class ChecksReport(BaseModel):
    """What the checks found, as a release's checks.json holds it; and their versions and models."""

    model_config = ConfigDict(frozen=True)

    checks: tuple[CheckVersion, ...]
    features: tuple[FeatureCounts, ...]

    @classmethod
    def read(cls, release: Path) -> ChecksReport:
        """That of a release folder. Raises OSError, or ValueError for a damaged one."""
        return cls.model_validate_json((release / "assets" / CHECKS_FILE).read_bytes())

    def __str__(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1)


class Prompts:
    """The prompts of each split, as digests, with how many pictures have each; a build has fewer than pictures."""

    def __init__(self) -> None:
        self.of: dict[str, Counter[bytes]] = {split: Counter() for split in SPLITS}

    def add(self, split: str, prompt: str) -> None:
        """Count a picture's prompt."""
        self.of[split][hashlib.blake2b(prompt.encode("utf-8", "replace"), digest_size=16).digest()] += 1

    def total(self, split: str) -> int:
        """Return how many pictures a split has."""
        return self.of[split].total()

    def repeated(self, split: str) -> int:
        """Return how many pictures of a split have a prompt that occurs word for word in train."""
        return sum(pictures for prompt, pictures in self.of[split].items() if prompt in self.of["train"])

    def shared(self) -> list[tuple[str, int, int]]:
        """Return for each split but train: its name, how many of its pictures have a prompt of train, and how many it
        has; nothing where there is no train.
        """
        others = [split for split in SPLITS if split != "train" and self.total(split) and self.total("train")]
        return [(split, self.repeated(split), self.total(split)) for split in others]


@dataclass
class Statistics:
    """What is counted, and by what.

    Pictures: `made` by (attribute, feature, split), `people` by (sex, ethnicity, age group), `verified` by (feature,
    verified), `minors` by age group, `unfilled` (given up) by feature. Their `prompts`, by split. Tries: `rejected` by
    (feature, reason), and their attribute `scores` by feature in SCORES bins. `versions` of what made them, by name.
    `candidates` for the first page. `split_numbers` of every shard, in which each byte is a row: its split's place in
    SPLITS. `twins` by the feature that they are without, and `same_seed` of them.
    """

    made: Counter = field(default_factory=Counter)
    people: Counter = field(default_factory=Counter)
    minors: Counter = field(default_factory=Counter)
    versions: dict[str, set[str]] = field(default_factory=dict)
    verified: Counter = field(default_factory=Counter)
    rejected: Counter = field(default_factory=Counter)
    scores: dict[str, list[int]] = field(default_factory=dict)
    unfilled: Counter = field(default_factory=Counter)
    candidates: Candidates = field(default_factory=Candidates)
    split_numbers: dict[Path, bytes] = field(default_factory=dict)
    prompts: Prompts = field(default_factory=Prompts)
    twins: Counter = field(default_factory=Counter)
    same_seed: Counter = field(default_factory=Counter)

    @classmethod
    def of(cls, raw: RawBuild, shards: Finished, engine: Engine | None = None) -> Statistics:
        """Count finished shards. Raises Damaged for one with a line that its receipt or the plan does not say.

        Each shard is a task for an engine: unless given, as many processes of this machine as are worth it.
        """
        counts = cls()
        engine = engine or Here.sized(ROW * sum(facts.rows for facts in shards.values()))
        for some in ordered(engine, _ShardCounter(raw), [shard.name for shard in shards]):
            counts._add(some)
        for facts in shards.values():
            counts.unfilled.update(_feature(id) for id in facts.unfilled)
            for name, version in facts.versions.items():
                counts.versions.setdefault(name, set()).add(version)
        return counts

    def _count(self, shard: Path, lines: ShardLines) -> None:
        """Count a shard by its lines."""
        for row in lines.made:
            self.made[row["attribute"], row["feature"], row["split"]] += 1
            self.people[row["sex"], row["ethnicity"], row["age_group"]] += 1
            self.minors[row["age_group"]] += row["age"] < ADULT
            self.verified[row["feature"], row["verified"]] += 1
            self.prompts.add(row["split"], row["prompt"])
            self.candidates.add(shard, row)
        self.split_numbers[shard] = bytes(SPLITS.index(row["split"]) for row in lines.made)
        if agfd30k.config_of(shard) == agfd30k.TWINS:
            self._pair(lines.made, shard.with_name(shard.name.removeprefix(f"{agfd30k.TWINS}-")))
        for row in lines.rejected.rows.values():
            self._reject(row)

    def _add(self, other: Statistics) -> None:
        """Add what was counted elsewhere, of other shards."""
        for name in ("made", "people", "minors", "verified", "rejected", "twins", "same_seed"):
            _sum(getattr(self, name), getattr(other, name))
        for split, prompts in other.prompts.of.items():
            _sum(self.prompts.of[split], prompts)
        for feature, scores in other.scores.items():
            self.scores[feature] = [a + b for a, b in zip(self.scores.get(feature, [0] * SCORES), scores)]
        self.candidates.merge(other.candidates)
        self.split_numbers |= other.split_numbers

    def _pair(self, twins: list[dict[str, Any]], shard: Path) -> None:
        """Count a shard's twins; `shard` has the pictures that they are twins of."""
        seeds = {row["id"]: row["seed"] for row in agfd30k.read_rows(shard)}
        for row in twins:
            feature = row["id"].split("-")[1]
            self.twins[feature] += 1
            self.same_seed[feature] += seeds.get(row["twin_of"]) == row["seed"]

    def _reject(self, row: dict[str, Any]) -> None:
        feature = _feature(row["id"])
        self.rejected[feature, row["reason"]] += 1
        score = (row["checks"] or {}).get("attribute_score")
        if score is not None:
            self.scores.setdefault(feature, [0] * SCORES)[max(0, min(int(score * SCORES), SCORES - 1))] += 1

    @property
    def first_page(self) -> FirstPage:
        """The rows that `all` begins with."""
        return self.candidates.first_page(self.made)

    def splits(self, attribute: str | None = None) -> dict[str, int]:
        """Pictures of each split, of one attribute or of all."""
        return {
            split: sum(n for (of, _, place), n in self.made.items() if place == split and attribute in (None, of))
            for split in SPLITS
        }

    def by(self, *keys: str) -> dict[Any, int]:
        """Pictures by one or two of sex, ethnicity and age_group."""
        places = [("sex", "ethnicity", "age_group").index(key) for key in keys]
        counts: Counter = Counter()
        for person, count in self.people.items():
            values = tuple(person[place] for place in places)
            counts[values if len(values) > 1 else values[0]] += count
        return dict(counts)

    def table(self, spec: Spec) -> Spec:
        """Return the table, with a row of the twins where there are some."""
        return with_twins(spec) if self.twins else spec

    def features(self, spec: Spec) -> list[FeatureCounts]:
        """Return the counts of every feature of which pictures were asked for, in the table's order."""
        counts = (self._feature(feature) for feature in spec.features)
        return [count for count in counts if count.asked]

    def _feature(self, feature: Feature) -> FeatureCounts:
        made = sum(n for (_, name, _), n in self.made.items() if name == feature.name)
        reasons = {reason: n for (name, reason), n in sorted(self.rejected.items()) if name == feature.name}
        rejected, unfilled = sum(reasons.values()), self.unfilled[feature.name]
        scores = self.scores.get(feature.name)
        return FeatureCounts(
            attribute=feature.attribute,
            feature=feature.name,
            asked=made + unfilled,
            made=made,
            verified=self.verified[feature.name, True],
            not_judged=self.verified[feature.name, None],
            rejected=rejected,
            reasons=reasons,
            unfilled=unfilled,
            tries=(made + rejected) / made if made else None,
            rejected_scores=None if scores is None else tuple(scores),
        )

    def checks(self, recipe: BuildRecipe) -> ChecksReport:
        """Return what the checks found, feature by feature."""
        return ChecksReport(checks=recipe.checks, features=tuple(self.features(recipe.spec)))

    def lines(self, spec: Spec) -> Iterator[str]:
        """Yield a table of what was asked, made and rejected for which reason, feature by feature."""
        rows = self.features(spec)
        yield f"{'feature':<15}{'asked':>8}{'made':>8}{'verified':>9}{'given up':>9}{'tries':>7}  rejected"
        for row in rows:
            reasons = sorted(row.reasons.items(), key=lambda item: -item[1])
            why = ", ".join(f"{n:,} {reason}" for reason, n in reasons)
            yield f"{row.feature:<15}{_columns(*_counts(row))}  {why or '-'}"
        totals = [sum(column) for column in zip(*map(_counts, rows))]
        yield f"{'all':<15}{_columns(*totals)}  {totals[-1]:,}"

    def nothing(self) -> str:
        """Why there is no picture at all, and what to do."""
        reasons: Counter = Counter()
        for (_, reason), tries in self.rejected.items():
            reasons[reason] += tries
        if not reasons:
            return "no shard with pictures is done yet; run the builder again to go on"
        often = reasons.most_common(1)[0][0]
        return (
            f"no picture was kept, {reasons.total():,} tries were rejected, most often: {often}; change table or model"
        )

    def __str__(self) -> str:
        """Return a table of configs and splits."""
        attributes = list(dict.fromkeys(attribute for attribute, _, _ in self.made))
        rows = [(name, self.splits(name)) for name in attributes]
        rows += [("all", self.splits())] if len(attributes) > 1 else []
        lines = [f"{'config':<20}" + "".join(f"{split:>12}" for split in SPLITS)]
        lines += [f"{name:<20}" + "".join(f"{counts[split]:>12,}" for split in SPLITS) for name, counts in rows]
        return "\n".join(lines)


@dataclass(frozen=True)
class _ShardCounter:
    """Counts a shard of a build, by its name."""

    raw: RawBuild

    def __call__(self, name: str) -> list[Statistics]:
        counts, shard = Statistics(), self.raw.shard_folder(self.raw.shards[name])
        counts._count(shard, self.raw.sound_lines(shard))
        return [counts]

    def __reduce__(self) -> tuple[Callable[[Path], _ShardCounter], tuple[Path]]:
        """Another process opens the build once, for all shards that it counts."""
        return _shard_counter, (self.raw.folder,)


@cache
def _shard_counter(folder: Path) -> _ShardCounter:
    return _ShardCounter(RawBuild.open(folder))


def _sum(counter: Counter[Any], other: Counter[Any]) -> None:
    """Add a counter, keys of which nothing was counted as well, in their order."""
    for key, count in other.items():
        counter[key] += count


def _feature(id: str) -> str:
    attribute, feature, _ = id.split("-", 2)
    return agfd30k.TWIN if attribute == agfd30k.TWINS else feature


def _counts(row: FeatureCounts) -> tuple[int, int, int, int, int]:
    return row.asked, row.made, row.verified, row.unfilled, row.rejected


def _columns(asked: int, made: int, verified: int, unfilled: int, rejected: int) -> str:
    tries = f"{(made + rejected) / made:.2f}" if made else "-"
    return f"{asked:>8,}{made:>8,}{verified:>9,}{unfilled:>9,}{tries:>7}"
