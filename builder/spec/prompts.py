"""The prompts of a person, and the rules for minors that no table and no flag can switch off.

Text cannot be judged for certain, so whoever may be a minor counts as one: anyone under 18, and anyone whose prompt
speaks of a child, of school, or of an age under 18. A minor's prompt always asks for clothes and against nudity, and
may not contain a word of nudity itself.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from builder.spec.faults import Fault, SpecError
from builder.spec.minors import NUDITY, UNCLOTHED, is_minor, plain
from builder.spec.spec import ADULT, SEXES, Feature, Spec

MINORS: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
"""What [minors] must have as soon as a person of a table may be a minor."""


def render(spec: Spec, feature: Feature, age: int, subject: str, ethnicity: str, phrase: str) -> tuple[str, str]:
    """The positive and the negative prompt of one person; a minor gets the table's [minors] pieces, and `NUDITY`.

    Raises SpecError where a minor's prompt speaks of nudity, or the table has no [minors] pieces for it.
    """
    fields = {"age": str(age), "subject": subject, "ethnicity": spec.ethnicities[ethnicity], "phrase": phrase}
    positive, negative = _fill(feature.positive, fields), list(feature.negative)
    if is_minor(age, ", ".join(positive)):
        place = max(n for n, piece in enumerate(feature.positive, 1) if "{" in piece)
        positive[place:place] = _clothes(spec)
        unwanted = [*spec.minors["negative"], *NUDITY]
        negative += [word for word in dict.fromkeys(unwanted) if word not in negative]
        if nudity := UNCLOTHED.search(plain(", ".join(positive))):
            raise SpecError.of(
                Fault("a prompt that may show a minor must not speak of nudity", nudity[0], ("phrases",))
            )
    return ", ".join(filter(None, positive)), ", ".join(negative)


def faults(spec: Spec, feature: Feature) -> Iterator[Fault]:
    """Yield where a prompt of this row breaks the rules for minors, found without trying every combination.

    Of `spec` only the ethnicities and [minors] are looked at. The first breach of a row is enough.
    """
    try:
        for age, subject, ethnicity, phrase in _each(spec, feature):
            render(spec, feature, age, subject, ethnicity, phrase)
    except SpecError as error:
        yield from error.faults


def _each(spec: Spec, feature: Feature) -> Iterator[tuple[int, str, str, str]]:
    """Yield every age, subject, ethnicity and phrase of a row at least once, and all ages and ethnicities together."""
    for sex in SEXES:
        subjects, phrases = feature.subjects[sex], feature.phrases[sex]
        yield from itertools.product(feature.ages, subjects[:1], spec.ethnicities, phrases[:1])
        yield from itertools.product([min(feature.ages)], subjects, list(spec.ethnicities)[:1], phrases)


def _clothes(spec: Spec) -> Iterable[str]:
    missing = [key for key in MINORS if not spec.minors.get(key)]
    if missing:
        rule = f"a table with ages under {ADULT}, or words such as girl, needs [minors] `{{}}`"
        raise SpecError.of(*(Fault(rule.format(key), None, ("minors",)) for key in missing))
    return spec.minors["positive"]


def _fill(pieces: Iterable[str], fields: dict[str, str]) -> list[str]:
    return [re.sub(r"\{(\w+)\}", lambda match: fields[match[1]], piece).strip() for piece in pieces]
