"""What a raw build holds, counted from its rows and receipts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agfd30k import SPLITS, read_rows
from builder.shards import REJECTED, receipt, require_sound
from builder.spec import ADULT


@dataclass
class Census:
    """Pictures by (attribute, feature, split) and by (sex, ethnicity, age group); those of minors by age group, and how
    many no safety checker has passed; rejected tries and unfilled pictures by feature; and the versions of what made
    them, by name.
    """

    made: Counter = field(default_factory=Counter)
    people: Counter = field(default_factory=Counter)
    minors: Counter = field(default_factory=Counter)
    unchecked: int = 0
    versions: dict[str, set[str]] = field(default_factory=dict)
    rejected: Counter = field(default_factory=Counter)
    unfilled: Counter = field(default_factory=Counter)

    @classmethod
    def of(cls, shards: list[Path]) -> Census:
        """Count finished shards. Raises Damaged for one whose rows are not those its receipt was written for."""
        counts = cls()
        for shard in shards:
            require_sound(shard)
            for row in read_rows(shard):
                counts.made[row["attribute"], row["feature"], row["split"]] += 1
                counts.people[row["sex"], row["ethnicity"], row["age_group"]] += 1
                counts.minors[row["age_group"]] += row["age"] < ADULT
                counts.unchecked += not row["safety_checker"]
            facts = receipt(shard)
            counts.unfilled.update(_feature(id) for id in facts["unfilled"])
            for name, version in facts["versions"].items():
                counts.versions.setdefault(name, set()).add(version)
            with open(shard / REJECTED, encoding="utf-8") as lines:
                counts.rejected.update(_feature(json.loads(line)["id"]) for line in lines)
        return counts

    def splits(self, attribute: str | None = None) -> dict[str, int]:
        """Pictures of each split, of one attribute or of all."""
        return {
            split: sum(n for (of, _, place), n in self.made.items() if place == split and attribute in (None, of))
            for split in SPLITS
        }

    def by(self, *keys: str) -> dict[Any, int]:
        """Pictures by one or two of sex, ethnicity and age_group."""
        places = [("sex", "ethnicity", "age_group").index(key) for key in keys]
        found: Counter = Counter()
        for person, count in self.people.items():
            values = tuple(person[place] for place in places)
            found[values if len(values) > 1 else values[0]] += count
        return dict(found)

    def features(self, recipe: dict[str, Any]) -> list[dict[str, Any]]:
        """Per feature, in the table's order: pictures made, tries rejected, pictures given up."""
        rows = []
        for feature in recipe["spec"]["features"]:
            name = feature["name"]
            made = sum(n for (_, of, _), n in self.made.items() if of == name)
            if made or self.unfilled[name]:
                counts = {"made": made, "rejected": self.rejected[name], "unfilled": self.unfilled[name]}
                rows.append(
                    {"attribute": feature["attribute"], "feature": name, "asked": made + self.unfilled[name], **counts}
                )
        return rows

    def __str__(self) -> str:
        """A table of configs and splits."""
        attributes = list(dict.fromkeys(attribute for attribute, _, _ in self.made))
        rows = [(name, self.splits(name)) for name in attributes] + [("all", self.splits())]
        lines = [f"{'config':<20}" + "".join(f"{split:>12}" for split in SPLITS)]
        lines += [f"{name:<20}" + "".join(f"{counts[split]:>12,}" for split in SPLITS) for name, counts in rows]
        total = sum(self.rejected.values()), sum(self.unfilled.values())
        return "\n".join([*lines, "{:,} tries rejected, {:,} pictures given up".format(*total)])


def _feature(id: str) -> str:
    return id.split("-")[1]
