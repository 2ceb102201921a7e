"""Twins: the same person with the same seed and settings, but without the feature, so that two pictures differ in it
alone.

A twin's prompts are the template's own pieces: without the row's phrase, and without what the row drops, replaces and
adds for its feature's sake. A row whose prompts are the template's already, such as one of an age, has none.
"""

from __future__ import annotations

from typing import Any

from builder.spec.criteria import Shown
from builder.spec.field_types import TWIN, TWINS
from builder.spec.spec import SEXES, Feature, Spec

NO_PHRASE: Any = dict.fromkeys(SEXES, ("",))
QUESTION = "Is this a plain portrait of one person?"


def twin(spec: Spec, feature: Feature) -> Feature | None:
    """Return a row without its feature: the same people and guidance, the template's prompts. None where it has no
    twins: its prompts are the template's, or the table is an older one's, which does not say its template.

    Its rules are not checked: they matter where twins are made.
    """
    template = spec.template
    if template is None:
        return None
    plain = {"positive": template.positive, "negative": template.negative, "phrases": NO_PHRASE}
    if all(getattr(feature, key) == value for key, value in plain.items()):
        return None
    return feature.model_copy(update={**plain, "check": Shown(), "question": None})


def with_twins(spec: Spec) -> Spec:
    """Return the table with one more row, that of all twins: their attribute is `twins`, their feature `twin`."""
    twinned = [feature for feature in spec.features if twin(spec, feature)]
    if not twinned or spec.template is None:
        return spec
    row = Feature(
        attribute=TWINS,
        name=TWIN,
        male=sum(feature.male for feature in twinned),
        female=sum(feature.female for feature in twinned),
        ages=tuple(sorted({age for feature in twinned for age in feature.ages})),
        subjects={sex: tuple(dict.fromkeys(word for f in twinned for word in f.subjects[sex])) for sex in SEXES},
        phrases=NO_PHRASE,
        guidance_scale=spec.recipe.guidance_scale,
        positive=spec.template.positive,
        negative=spec.template.negative,
        question=QUESTION,
    )
    return spec.changed(features=(*spec.features, row))
