"""What is drawn and what is said of it: labels at random, balanced, and captions in the prompts' own style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from builder.spec import prompts
from builder.spec.spec import SEXES, Feature, Spec

SHORT = 0.3
"""Share of captions that are a few words instead of the whole prompt."""
ANY_AGE = 0.15
"""Share of people whose age is any of the feature's range instead of one of the table's."""


@dataclass(frozen=True)
class Caption:
    """A person to draw, and the positive and negative prompt that ask for it."""

    feature: str
    sex: str
    ethnicity: str
    age: int
    phrase: str
    prompt: str
    negative_prompt: str


def random_caption(spec: Spec, rng: np.random.Generator, feature: Feature | None = None) -> Caption:
    """Every feature, sex, ethnicity, age and phrase of the table equally often, whatever the quotas are."""
    feature = feature or _pick(rng, spec.features)
    sex, ethnicity = _pick(rng, SEXES), _pick(rng, list(spec.ethnicities))
    age, (subject, phrase) = int(_pick(rng, feature.ages)), _pick(rng, feature.variants(sex))
    if rng.random() < ANY_AGE:
        group = {spec.age_group(known) for known in feature.ages}
        age = int(_pick(rng, [year for year in range(1, 101) if spec.age_group(year) in group]))
    prompt, negative = prompts.render(spec, feature, age, subject, ethnicity, phrase)
    if rng.random() < SHORT:
        prompt = _short(rng, age, subject, spec.ethnicities[ethnicity], phrase)
    return Caption(feature.name, sex, ethnicity, age, phrase, prompt, negative)


def _short(rng: np.random.Generator, age: int, subject: str, ethnicity: str, phrase: str) -> str:
    """A few words in any order, as someone would type them."""
    person = _pick(
        rng, [f"photo of a {age} y.o {subject}", f"{age} y.o {subject}", f"portrait of a {subject}, {age} y.o"]
    )
    words = [word for word in (person, ethnicity, phrase) if word]
    return ", ".join(words[n] for n in rng.permutation(len(words)))


def _pick(rng: np.random.Generator, values):
    return values[int(rng.integers(len(values)))]
