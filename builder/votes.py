"""What people say of each picture, beside what the verifier says of it."""

from __future__ import annotations

import io
import itertools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from builder import UserError
from builder.album import Album, Entry
from builder.calibration import Judged
from builder.judgements import Judgement

AT_ONCE = 16
"""Pictures that the verifier reads at once."""

Standing = dict[tuple[str, str, str], tuple[int, Judgement]]
"""As `judgements.standing` gives it."""
About = tuple[str, str]
"""The id of a picture, and a feature."""


def majority(standing: Standing) -> dict[About, bool]:
    """What most judges say; where as many say yes as no, nothing."""
    votes: Counter = Counter()
    for _, told in standing.values():
        votes[told.id, told.feature] += 1 if told.shown else -1
    return {about: balance > 0 for about, balance in votes.items() if balance}


def by_judge(standing: Standing) -> dict[str, dict[About, bool]]:
    """Every judge's answers."""
    found: dict[str, dict[About, bool]] = {}
    for _, told in standing.values():
        found.setdefault(told.judge, {})[told.id, told.feature] = bool(told.shown)
    return found


def entries(pictures: Album, path: Path, standing: Standing) -> dict[str, Entry]:
    """The rows of all judged pictures. Raises UserError with the line of a judgement that is about nothing there is."""
    features = {feature.name for feature in pictures.spec.features}
    wanted = {told.id for _, told in standing.values()}
    found = {entry.id: entry for entry in pictures.entries() if entry.id in wanted}
    for number, told in sorted(standing.values(), key=lambda each: each[0]):
        if told.feature not in features:
            raise UserError(f"{path}, line {number}: the table has no feature {told.feature!r}")
        if told.id not in found:
            raise UserError(f"{path}, line {number}: there is no picture {told.id!r} in {pictures.folder}")
    return found


def judged(pictures: Album, path: Path, standing: Standing, reader: str = "") -> list[Judged]:
    """Every picture that judges agree on, with the score that the verifier gives it.

    A score of the feature that a picture was asked for stands in its row; for any other the picture is read again, with
    the build's own reader. `reader` says where that lies, if it is a local model.
    """
    rows, decided = entries(pictures, path, standing), majority(standing)
    others: dict[str, list[str]] = {}
    for id, feature in decided:
        if rows[id].feature != feature:
            others.setdefault(id, []).append(feature)
    read = dict(_scores(pictures, [(rows[id], names) for id, names in others.items()], reader)) if others else {}
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


def _scores(pictures: Album, asked: list[tuple[Entry, list[str]]], place: str) -> Iterator[tuple[About, float | None]]:
    """The scores of features that pictures were not asked for; nothing where the build had no attribute check."""
    if not any(check["name"] == "attribute" for check in pictures.checks):
        return
    from builder.checks.attribute import feature_score  # torch, which rows alone do without
    from builder.checks.loading import reader_again

    checks = {feature.name: feature.check for feature in pictures.spec.features}
    reader = reader_again(pictures.spec, pictures.checks, place)
    asked = iter(sorted(asked, key=lambda each: each[0].place))
    with tqdm(desc="verifier", unit="picture", disable=not sys.stderr.isatty()) as bar:
        while batch := list(itertools.islice(asked, AT_ONCE)):
            images = [_image(pictures, entry) for entry, _ in batch]
            for (entry, names), image, row in zip(batch, images, reader.read(images)):
                read = {label: float(score) for label, score in zip(reader.labels, row)}
                for name in names:
                    yield (entry.id, name), feature_score(name, checks[name], image, read)
            bar.update(len(batch))


def _image(pictures: Album, entry: Entry) -> Image.Image:
    try:
        return Image.open(io.BytesIO(pictures.picture(entry))).convert("RGB")
    except (OSError, SyntaxError) as error:
        raise UserError(f"{entry.place[0]}: the picture of {entry.id} cannot be read: {error}") from None
