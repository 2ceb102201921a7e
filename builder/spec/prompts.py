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
from builder.spec.letters import mixed_word
from builder.spec.minors import CLOTHES, NUDITY, clothes, is_minor, nudity
from builder.spec.prompt_syntax import parse
from builder.spec.spec import ADULT, SEXES, Feature, Spec

MINORS: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
"""What [minors] must have as soon as a person of a table may be a minor."""
LEAST_GUIDANCE = 2
"""Least guidance scale for someone who may be a minor: near 1 a picture hardly follows its prompts, and at 1 the
negative one has no effect at all."""
MOST_WEIGHT = 2
"""Most weight of anything in the prompts of someone who may be a minor."""
MIXED = "a prompt must not mix alphabets within a word"


def render(spec: Spec, feature: Feature, age: int, subject: str, ethnicity: str, phrase: str) -> tuple[str, str]:
    """The positive and the negative prompt of one person; a minor gets `CLOTHES`, the table's [minors] pieces, and
    `NUDITY`.

    Raises SpecError for a word of two alphabets; and where a minor's prompt speaks of nudity or against clothes, could
    weigh these pieces away, or is followed too loosely, or the table has no [minors] pieces for it.
    """
    fields = {"age": str(age), "subject": subject, "ethnicity": spec.ethnicities[ethnicity], "phrase": phrase}
    positive, negative = _fill(feature.positive, fields), list(feature.negative)
    broken: list[Fault] = []
    if is_minor(age, ", ".join(filter(None, positive))):
        place = max(n for n, piece in enumerate(feature.positive, 1) if "{" in piece)
        positive[place:place] = _clothes(spec)
        unwanted = [*spec.minors["negative"], *NUDITY]
        negative += [word for word in dict.fromkeys(unwanted) if word not in negative]
        broken += _of_a_minor(", ".join(filter(None, positive)), ", ".join(negative), feature.guidance_scale)
    prompts = ", ".join(filter(None, positive)), ", ".join(negative)
    broken += [Fault(MIXED, word, ("phrases",)) for word in map(mixed_word, prompts) if word]
    if broken:
        raise SpecError.of(*broken)
    return prompts


def _of_a_minor(positive: str, negative: str, guidance: float) -> Iterator[Fault]:
    """Yield what is wrong with the prompts of someone who may be a minor."""
    if words := nudity(positive):
        yield Fault("a prompt that may show a minor must not speak of nudity", words, ("phrases",))
    if words := clothes(negative):
        yield Fault("the negative prompt of a minor must not be against clothes", words, ("negative_add",))
    if guidance < LEAST_GUIDANCE:
        rule = f"<key> must be at least {LEAST_GUIDANCE} where a prompt may show a minor"
        yield Fault(rule, guidance, ("guidance_scale",))
    for prompt, pieces, place in ((positive, (CLOTHES,), "add"), (negative, NUDITY, "negative_add")):
        if fault := _weighing(prompt, pieces):
            yield Fault(f"in a prompt that may show a minor, {fault}", prompt, (place,))


def _weighing(prompt: str, pieces: Iterable[str]) -> str | None:
    """Return how a prompt weighs some of its pieces away, or could, or None.

    Each must stand there with a weight of 1 or more. A chunk's mean is kept, so that large weights beside a piece make
    it small, and negative ones turn it round; BREAK puts it elsewhere.
    """
    fragments = parse(prompt)
    if any(weight is None for _, weight in fragments):
        return "BREAK must not be used"
    if not all(0 <= weight <= MOST_WEIGHT for _, weight in fragments if weight is not None):
        return f"weights must be from 0 to {MOST_WEIGHT}"
    full = (text for text, weight in fragments if weight is not None and weight >= 1)
    parts = {part.strip() for text in full for part in text.split(",")}
    missing = [piece for piece in pieces if piece not in parts]
    return f"brackets must not reach over `{missing[0]}`" if missing else None


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
    pieces = spec.minors["positive"]
    return pieces if CLOTHES in pieces else (CLOTHES, *pieces)


def _fill(pieces: Iterable[str], fields: dict[str, str]) -> list[str]:
    return [(_filled(piece, fields) if "{" in piece else piece).strip() for piece in pieces]


def _filled(piece: str, fields: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: fields[match[1]], piece)
