"""Does the picture show what was asked for: the feature, the sex and the age?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from builder.checks.shown import measured_score
from builder.checks.verdict import Seen, Verdict
from builder.plan.sample import Sample
from builder.spec.criteria import Attribute, Shown
from builder.spec.spec import Spec

if TYPE_CHECKING:
    from builder.models.classifiers import Descriptions, Reader

OF_AGE = "{} by age"
"""The label under which an age group is described: a feature may have the group's name, and other descriptions."""
LOOKS_MINOR = "child or teenager"
"""The label of a description that every CLIP or SigLIP model is told, whatever the table says."""
MINOR = (
    ("a photo of a baby", "a photo of a child", "a photo of a schoolchild", "a photo of a teenager of 15 years"),
    ("a photo of an adult", "a photo of a person of 25 years", "a photo of a grown man", "a photo of a grown woman"),
)
"""What it describes: minors of all ages, and adults, the young ones above all, from whom they must be told."""
MINOR_LABELS = ("child", "teenager")
"""Labels of a classifier that stand for it."""
MOST_MINOR = 0.5
"""The score from which on a picture that was asked to show an adult looks like one of a minor.

At 0.5 a model finds the picture as near to the one descriptions as to the other. The adults among them are of an age at
which they are hardest to tell from minors: by what CLIP's scores look like (differences of 0.02 to 0.05 between
descriptions that fit and do not, times 100), a clear child should come out above 0.85, and an adult of 25 under 0.3,
most of the descriptions on the other side being of people far younger. A higher limit would let teenagers pass, a lower
one would cost tries at young adults, and more of them for people whom a model takes for younger. None of this has been
measured on real photographs. Of 174 pictures of the preview, which its own verifier reads, no adult had more than 0.18
and no minor less than 0.88.
"""


class AttributeCheck:
    """The feature's score must reach its threshold, those of sex and age must not speak clearly against them.

    A feature is judged by what can be measured where the table says so, see `shown`, else by the `reader`, which is
    None where nothing in the table needs one. What the reader has no label for is not judged. A picture that looks like
    a minor, and was not asked to, is barred: no table keeps it. A twin must not show the feature that it is without.
    """

    name = "attribute"
    version = 3

    def __init__(self, criteria: Attribute, reader: Reader | None):
        self.criteria = criteria
        self.reader = reader
        self.rejects = criteria.on_fail == "reject"
        self.place = {label: n for n, label in enumerate(reader.labels)} if reader else {}

    def judge(self, samples: list[Sample], images: list[Image.Image], seen: Sequence[Seen] = ()) -> list[Verdict]:
        """Return a verdict for each picture, RGB, in order, of which `seen` says what was seen already."""
        scores = self.reader.read(images) if self.reader and images else np.zeros((len(images), 0))
        return [self._one(*each) for each in zip(samples, images, scores, seen or [{}] * len(images))]

    def _one(self, sample: Sample, image: Image.Image, scores: np.ndarray, before: Seen) -> Verdict:
        read = {label: float(scores[n]) for label, n in self.place.items()}
        feature = _score(sample, image, before, read)
        sex, age = read.get(sample.sex), read.get(OF_AGE.format(sample.age_group), read.get(sample.age_group))
        minor = minor_score(read)
        seen = {"attribute_score": feature, "sex_score": sex, "age_score": age, "minor_score": minor}
        if minor is not None and minor >= MOST_MINOR and not sample.minor:
            return Verdict(False, seen, "looks like a minor", f"{minor:.2f}, less than {MOST_MINOR}", barred=True)
        least = self.criteria.threshold if sample.check.threshold is None else sample.check.threshold
        reason = "the other's feature seen" if sample.twin_of else "feature not seen"
        limits = (
            (reason, feature, least),
            ("sex not seen", sex, self.criteria.person),
            ("age not seen", age, self.criteria.person),
        )
        for reason, score, limit in limits:
            if score is not None and score < limit:
                return Verdict(False, seen, reason, f"{score:.2f}, at least {limit}")
        return Verdict(None if feature is None else True, seen)


def _score(sample: Sample, image: Image.Image, seen: Seen, read: dict[str, float]) -> float | None:
    """Return how surely a picture shows its feature, or, a twin, that it lacks that of what it is the twin of."""
    asked = sample.twin_of or sample
    score = feature_score(asked.feature, asked.check, image, seen, read)
    return score if score is None or sample.twin_of is None else 1 - score


def minor_score(read: dict[str, float]) -> float | None:
    """Return how much a picture looks like one of a child or teenager; None where the reader cannot tell."""
    if LOOKS_MINOR in read:
        return read[LOOKS_MINOR]
    return max((read[label] for label in MINOR_LABELS if label in read), default=None)


def feature_score(name: str, check: Shown, image: Image.Image, seen: Seen, read: dict[str, float]) -> float | None:
    """How surely a picture shows a feature: by what can be measured where the table says so, else what was `read`.

    None where neither is there. Light that is strong must be read as such, too, where a reader knows the feature: of
    photographs in ordinary light 1 in 19 has highlights in the face.
    """
    measured = measured_score(check, image, seen)
    if measured is None:
        return read.get(name)
    return min(measured, read.get(name, 1.0)) if check.highlights_over is not None else measured


def descriptions(spec: Spec) -> Descriptions:
    """Return what a table tells a CLIP or SigLIP model to look for.

    A sex is held against the other ones, an age group against all but its neighbours, from which nobody can tell it.
    Raises ValueError for a table without the attribute check.
    """
    criteria = spec.checks.attribute
    if criteria is None:
        raise ValueError("the table has no [checks.attribute]")
    descriptions_by_label: Descriptions = {
        f.name: (f.check.shows, f.check.opposite) for f in spec.features if f.check.shows
    }
    for sex, texts in criteria.sexes.items():
        descriptions_by_label[sex] = (texts, _all(others for label, others in criteria.sexes.items() if label != sex))
    groups = [group for group in spec.age_groups if group in criteria.age_groups]
    for n, group in enumerate(groups):
        far = _all(criteria.age_groups[other] for place, other in enumerate(groups) if abs(place - n) > 1)
        descriptions_by_label[OF_AGE.format(group)] = (criteria.age_groups[group], far)
    told = {label: (yes, no) for label, (yes, no) in descriptions_by_label.items() if yes and no}
    return {**told, LOOKS_MINOR: MINOR}


def _all(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(text for texts in lists for text in texts)
