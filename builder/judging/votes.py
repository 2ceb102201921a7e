"""What people say of each picture, beside what the verifier says of it."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from PIL import Image

from builder.common.errors import UserError
from builder.common.progress import progress_bar
from builder.judging.judgements import Standing
from builder.judging.metrics import Judged
from builder.judging.pictures import Album, Entry
from builder.judging.population import Population

AT_ONCE = 16
"""Pictures that the verifier reads at once."""

About = tuple[str, str]
"""The id of a picture, and a feature."""
Asked = list[tuple[Entry, list[str]]]
"""Pictures, and the features that each is read for."""
Reading = Callable[[Asked], Iterable[tuple[About, float | None]]]
"""Returns the scores of pictures for the features that each is read for."""


def majority(standing: Standing) -> dict[About, bool]:
    """Return what most judges say; where as many say yes as no, nothing."""
    votes: Counter = Counter()
    for _, judgement in standing.values():
        votes[judgement.id, judgement.feature] += 1 if judgement.shown else -1
    return {about: balance > 0 for about, balance in votes.items() if balance}


def by_judge(standing: Standing) -> dict[str, dict[About, bool]]:
    """Return every judge's answers."""
    answers: dict[str, dict[About, bool]] = {}
    for _, judgement in standing.values():
        answers.setdefault(judgement.judge, {})[judgement.id, judgement.feature] = bool(judgement.shown)
    return answers


def held(pictures: Album, path: Path, standing: Standing) -> tuple[dict[str, Entry], Standing, Population]:
    """Return the rows of all judged pictures, by id, the judgements of them, and what they are a sample of.

    Left out are those of another picture with the same id: of another build, or taken back since. Raises UserError with
    the line of a judgement without a digest that is about nothing there is.
    """
    features = {feature.name for feature in pictures.spec.features}
    ids = {judgement.id for _, judgement in standing.values()}
    population = Population()
    rows = {entry.id: entry for entry in population.counted(pictures.entries()) if entry.id in ids}
    for number, judgement in sorted(standing.values(), key=lambda each: each[0]):
        if judgement.sha256:
            continue
        if judgement.feature not in features:
            raise UserError(f"{path}, line {number}: the table has no feature {judgement.feature!r}")
        if judgement.id not in rows:
            raise UserError(f"{path}, line {number}: there is no picture {judgement.id!r} in {pictures.folder}")
    valid = {
        about: (number, judgement)
        for about, (number, judgement) in standing.items()
        if judgement.feature in features and judgement.id in rows and judgement.is_of(rows[judgement.id].sha256)
    }
    if not valid:
        raise UserError(f"{path}: none of its judgements is of a picture that {pictures.folder} has now")
    return rows, valid, population


def judged(rows: dict[str, Entry], standing: Standing, reading: Reading) -> list[Judged]:
    """Every picture that judges agree on, with the score that the verifier gives it. Rows and judgements as in `held`.

    A score of the feature that a picture was asked for stands in its row; for any other the picture is read again.
    """
    decided = majority(standing)
    others: dict[str, list[str]] = {}
    for id, feature in decided:
        if rows[id].feature != feature:
            others.setdefault(id, []).append(feature)
    read = dict(reading([(rows[id], names) for id, names in others.items()])) if others else {}
    return [
        Judged(
            feature=feature,
            shown=shown,
            score=rows[id].score if rows[id].feature == feature else read.get((id, feature)),
            own=rows[id].feature == feature,
            verified=rows[id].verified,
            sex=rows[id].sex,
            ethnicity=rows[id].ethnicity,
        )
        for (id, feature), shown in decided.items()
    ]


def scores(pictures: Album, place: str, asked: Asked) -> Iterator[tuple[About, float | None]]:
    """Yield the scores of features that pictures were not asked for, by the build's own reader; nothing where the build
    had no attribute check. `place` says where the reader lies, if it is a local model.
    """
    model = next((check.model for check in pictures.checks if check.name == "attribute"), None)
    if model is None:
        return
    from builder.checks.attribute import feature_score  # torch, which rows alone do without
    from builder.checks.loading import reader_again

    checks = {feature.name: feature.check for feature in pictures.spec.features}
    reader = reader_again(pictures.spec, model, place)
    remaining = iter(sorted(asked, key=lambda each: each[0].place))
    with progress_bar(desc="verifier", unit="picture") as bar:
        while batch := list(itertools.islice(remaining, AT_ONCE)):
            images = [_image(pictures, entry) for entry, _ in batch]
            for (entry, names), image, row in zip(batch, images, reader.read(images)):
                read = {label: float(score) for label, score in zip(reader.labels, row)}
                for name in names:
                    yield (entry.id, name), feature_score(name, checks[name], image, entry.seen, read)
            bar.update(len(batch))


def _image(pictures: Album, entry: Entry) -> Image.Image:
    try:
        return Image.open(io.BytesIO(pictures.picture(entry))).convert("RGB")
    except (OSError, SyntaxError) as error:
        raise UserError(f"{entry.place[0]}: the picture of {entry.id} cannot be read: {error}") from None
