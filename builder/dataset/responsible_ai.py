"""How a release came to be and what it is for, in the fields of Croissant's vocabulary for responsible AI, version 1.0.

Every figure is counted in the build, every name is the table's or the recipe's. What is not known is said to be so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from builder.dataset.card import SAYS
from builder.dataset.contents import Contents
from builder.dataset.statistics import FeatureCounts, Prompts
from builder.models.identity import CheckVersion
from builder.spec.spec import ADULT

Texts = dict[str, Any]
"""Fields with their text, or texts where there may be more than one."""

FIELDS = (
    *["rai:hasSyntheticData", "rai:dataCollection", "rai:dataCollectionType", "rai:dataCollectionMissingData"],
    *["rai:dataCollectionRawData", "rai:dataImputationProtocol", "rai:dataPreprocessingProtocol"],
    *["rai:dataAnnotationProtocol", "rai:machineAnnotationTools", "rai:dataAnnotationPlatform"],
    *["rai:annotationsPerItem", "rai:annotatorDemographics", "rai:dataAnnotationAnalysis", "rai:dataBiases"],
    *["rai:dataLimitations", "rai:dataUseCases", "rai:dataSocialImpact", "rai:personalSensitiveInformation"],
    "rai:dataReleaseMaintenancePlan",
)
"""All that a release says. Source: Croissant RAI 1.0, and NeurIPS for `rai:hasSyntheticData`."""

PREVIEW = (
    "Preview: these pictures are drawings by the tiny model that is built into the tool, checked by its own tiny "
    "verifier. They show that the tool works. What they show, and what the verifier says of them, says nothing of the "
    "dataset's quality."
)


def summary(contents: Contents) -> str:
    """Return what the release is, in a few sentences."""
    total = sum(contents.statistics.made.values())
    wanted = sum(feature.male + feature.female for feature in contents.recipe.spec.features)
    part = f" This is a part: the table asks for {wanted:,} pictures." if total < wanted else ""
    return (
        f"{_preview(contents)}{total:,} generated faces for the special cases that face models fail on, labelled by "
        "attribute. Every picture was made by a diffusion model from a prompt; none is a photograph, and none was "
        f"taken from the web.{part}"
    )


def fields(contents: Contents) -> Texts:
    """Return the text of each of FIELDS."""
    features = contents.statistics.features(contents.recipe.spec)
    return {
        "rai:hasSyntheticData": True,
        **_collection(contents, features),
        **_processing(contents, features),
        **_annotation(contents, features),
        **_people(contents),
        **_fairness(contents, features),
        **_maintenance(contents),
    }


def _collection(contents: Contents, features: list[FeatureCounts]) -> Texts:
    model, recipe = contents.recipe.model, contents.recipe.spec.recipe
    asked, made = sum(row.asked for row in features), sum(row.made for row in features)
    rejected, missing = sum(row.rejected for row in features), _counted({row.feature: row.unfilled for row in features})
    return {
        "rai:dataCollection": (
            f"{_preview(contents)}Nothing was collected: all pictures are synthetic. Each was made by the diffusion "
            f"model {model.name}, revision {model.revision}, from a prompt that a table (recipe.toml) puts together of "
            f"a feature, a sex, an ethnicity and an age, with DPM++ 2M Karras in {recipe.steps} steps, at "
            f"{recipe.width}×{recipe.height} pixels. Prompts, guidance scale and seed stand in every row. {made:,} "
            f"pictures were kept and {rejected:,} tries rejected."
        ),
        "rai:dataCollectionType": ["Others: synthetic, made by a diffusion model from prompts"],
        "rai:dataCollectionMissingData": (
            f"{asked - made:,} of {asked:,} pictures that were asked for are missing, because every try at them was "
            f"rejected{f' ({missing})' if missing else ''}. A value that was not measured, or that nobody could tell, "
            "is null."
        ),
        "rai:dataCollectionRawData": (
            "There is no raw data beside the table of prompts, recipe.toml. What the model itself was trained on is "
            "its makers' to say."
        ),
        "rai:dataImputationProtocol": "None: no value was filled in.",
    }


def _processing(contents: Contents, features: list[FeatureCounts]) -> Texts:
    checker, most = contents.recipe.made_by["safety_checker"], contents.recipe.spec.recipe.max_attempts
    reasons: Counter[str] = Counter()
    for row in features:
        reasons.update(row.reasons)
    safe = "A safety checker looked at every picture before all other checks, and what it flagged was never saved"
    return {
        "rai:dataPreprocessingProtocol": [
            f"{safe}: {checker}." if checker else "No safety checker has passed the pictures: the preview has none.",
            f"A try that was rejected was made again with another seed, up to {most} in all. Rejected tries, by "
            f"reason: {_counted(reasons) or 'none'}.",
            "No picture was edited. Its file says that it is machine-made: IPTC's digital source type "
            "trainedAlgorithmicMedia in XMP, with the model's name.",
            f"The splits were made inside every feature and sex.{_shared(contents.statistics.prompts)}",
            *([] if contents.info.searched else ["Duplicates were not looked for."]),
        ],
    }


def _shared(prompts: Prompts) -> str:
    """Return how many pictures of the other splits have a prompt of train, as a sentence; nothing without a train."""
    counts = [f"{repeated:,} of {total:,} in {split}" for split, repeated, total in prompts.shared()]
    return f" Pictures whose prompt occurs word for word in train: {', '.join(counts)}." if counts else ""


def _annotation(contents: Contents, features: list[FeatureCounts]) -> Texts:
    made, verified = sum(row.made for row in features), sum(row.verified for row in features)
    untold, checks = sum(row.not_judged for row in features), contents.recipe.checks
    opinion = (
        f"`verified` is the opinion of the checks, with their models' mistakes and biases: {verified:,} of {made:,} "
        f"pictures were seen to show their feature, {made - verified - untold:,} failed a check and were kept, of "
        f"{untold:,} nobody could tell."
    )
    return {
        "rai:dataAnnotationProtocol": (
            "attribute, feature, sex, ethnicity, age and age_group say what the prompt asked for; nobody looked at the "
            f"pictures to give them. {opinion if checks else 'No check was made: `verified` is null in every row.'}"
        ),
        "rai:machineAnnotationTools": [_check(contents, check) for check in checks] or ["None."],
    }


def _check(contents: Contents, check: CheckVersion) -> str:
    """Return a check that was made: its version, what it asks for, and the model that it looks with."""
    spec = contents.recipe.spec
    compared = contents.info.searched or check.name != "duplicates"
    says = SAYS[check.name](getattr(spec.checks, check.name), spec.features) if compared else "not compared yet"
    model = f"; model {check.model.name}, revision {check.model.revision}" if check.model else ""
    return f"{check.name}, version {check.version}: {says}{model}"


def _people(contents: Contents) -> Texts:
    """Return what people have said of the labels."""
    if not contents.calibration:
        return {
            "rai:dataAnnotationPlatform": ["None: no person has annotated a picture."],
            "rai:annotationsPerItem": "0",
            "rai:annotatorDemographics": ["No person has annotated a picture."],
            "rai:dataAnnotationAnalysis": ["Not known: the checks were not compared with people's judgement."],
        }
    counts = contents.calibration.content
    judges = f"{counts['judges']:,} {'person' if counts['judges'] == 1 else 'people'}"
    return {
        "rai:dataAnnotationPlatform": ["The tool's own page for judgements, `agfd30k judge`."],
        "rai:annotationsPerItem": (
            f"0 in the labels. To measure the checks, {counts['judgements']:,} judgements were given by {judges}; see "
            "assets/calibration.json."
        ),
        "rai:annotatorDemographics": ["Not known: the judges were asked nothing about themselves."],
        "rai:dataAnnotationAnalysis": [
            "Estimates for all pictures of this build, with 95% intervals, of how far people agree with the checks.",
            *(_calibrated(row) for row in counts["features"]),
        ],
    }


def _calibrated(row: Mapping[str, Any]) -> str:
    """Return how far people agree with the verifier about a feature."""
    shares = (
        ("precision of verified", row["verified_precision"], row["verified_precision_interval"]),
        ("recall", row["recall"], row["recall_interval"]),
        ("false positives", row["false_positive_rate"], row["false_positive_rate_interval"]),
    )
    said = (
        f"{name} not known" if share is None else f"{name} {share:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
        for name, share, interval in shares
    )
    return f"{row['feature']}, {row['judged']:,} pictures judged: {', '.join(said)}."


def _fairness(contents: Contents, features: list[FeatureCounts]) -> Texts:
    people = ("sex", "ethnicity", "age_group")
    counts = [f"Pictures by {key.replace('_', ' ')}: {_counted(contents.statistics.by(key))}." for key in people]
    rejected = _counted({row.feature: row.rejected for row in features})
    return {
        "rai:dataBiases": [
            "The pictures are no sample of real people: how often something occurs, how it looks and where it fails "
            "are those of a plan and of one generator.",
            "Ethnicity is a word in a prompt and what a model made of it, nothing more; so are sex and age.",
            *counts,
            *([f"What was rejected is not in the data; rejected tries by feature: {rejected}."] if rejected else []),
        ],
        "rai:dataLimitations": [
            *([PREVIEW] if contents.recipe.is_preview else []),
            "One generator: a detector of generated faces that was trained on it alone does not generalise to others.",
            "Labels can be wrong, and more often for what the generator draws badly.",
            "Not meant for identifying, profiling or deceiving anyone, for claims about how people of a sex, an age or "
            "an ethnicity look or behave, or for a final measure of quality without real pictures beside it.",
        ],
        "rai:dataUseCases": [
            "Testing of face detectors, landmark and recognition models under occlusion, pose, light and age.",
            "Augmentation of their training, fine-tuning.",
            "Research on generated faces and on telling them from photographs.",
        ],
        "rai:dataSocialImpact": (
            "Special cases can be tested without photographs of real people, who would have to agree to it. The same "
            "pictures can be passed off as photographs, which the mark in every file is against, and a model that does "
            "well on them may still treat real people unfairly."
        ),
        "rai:personalSensitiveInformation": _personal(contents),
    }


def _personal(contents: Contents) -> list[str]:
    spec, minors = contents.recipe.spec, contents.statistics.minors
    groups = [group for group in spec.age_groups if minors[group]]
    young = (
        f"{sum(minors.values()):,} pictures were asked to show people under {ADULT} ({', '.join(groups)}): no real "
        "child is shown, and their prompts ask for plain clothed portraits. Use them for nothing else than testing and "
        "training of models that must work for the young."
    )
    return [
        "No picture shows a real person. A likeness to one is not intended and cannot be ruled out; ask for a "
        "picture's removal where the dataset is published.",
        f"Gender, age and ethnicity are labelled as the prompt asked for them: sex ({', '.join(spec.labels['sex'])}), "
        f"ethnicity ({', '.join(spec.ethnicities)}), age in years and age_group ({', '.join(spec.age_groups)}).",
        young if groups else f"No picture was asked to show a person under {ADULT}.",
    ]


def _maintenance(contents: Contents) -> Texts:
    return {
        "rai:dataReleaseMaintenancePlan": (
            "Nothing of a release is changed in place: a correction, or the removal of a picture, is a new release "
            "with another digest of its rows, and so another version. Faults and wishes for removal are taken where "
            f"the dataset is published. This one is made from the recipe {contents.recipe.fingerprint} and the rows "
            f"{contents.info.rows}."
        ),
    }


def _preview(contents: Contents) -> str:
    return f"{PREVIEW} " if contents.recipe.is_preview else ""


def _counted(counts: Mapping[str, int]) -> str:
    """Return what was counted, without what there is none of: `12 smile, 3 angry`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
