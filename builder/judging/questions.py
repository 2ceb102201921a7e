"""Which pictures a person is asked about, in which order, and one judge's way through them."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.judging.judgements import Judgement, append, standing
from builder.judging.pictures import Entry
from builder.spec.prompt_syntax import parse
from builder.spec.spec import Feature

MOST_WORDS = 6
EACH = 50
"""Pictures of a feature that are asked about, unless --each says another number."""
OTHERS_PER_OWN = 2
"""Others for each of them: 100 can bound false positives by 5% (`estimates.needed` is 62) even if a third show it."""


@dataclass(frozen=True)
class Question:
    """Does this picture show this feature? Nothing here tells the judge whether it was asked to."""

    entry: Entry
    feature: str


def choose(entries: Iterable[Entry], features: Iterable[str], each: int, seed: int) -> list[Question]:
    """Return `each` pictures of every feature that were asked to show it, and OTHERS_PER_OWN times as many others.

    Both are simple random samples, in an order in which a judge who stops early has asked first where the intervals of
    `agfd30k calibrate` are widest: about every feature equally often, since it is the one with the fewest answers whose
    interval is widest, and about the others twice as often, since each of them stands for so many more pictures.

    Within a feature the two kinds are mixed at random, at the same rate from the first question to the last, so that
    the order tells nothing of a picture, and whatever was answered is a random sample of either kind again. For that
    the order follows from the seed and the ids alone. One that followed from the answers would narrow intervals a bit
    faster, but samples would end where they happen to look sure, and a judge could see what the last answers were.

    A feature that no picture was asked for is left out. Memory grows with what is chosen, not with what is there.
    """
    features = list(features)
    heaps: dict[tuple[str, bool], list] = {}
    for entry in entries:
        for feature in features:
            own = entry.feature == feature
            heap = heaps.setdefault((feature, own), [])
            item = (-_rank(seed, feature, entry.id), entry.id, entry)
            if len(heap) < each * (1 if own else OTHERS_PER_OWN):
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)
    chosen = {
        name: [Question(item[2], name) for own in (True, False) for item in heaps.get((name, own), ())]
        for name in features
        if (name, True) in heaps
    }
    return _in_rounds(chosen, seed)


def _in_rounds(chosen: dict[str, list[Question]], seed: int) -> list[Question]:
    """Return questions in rounds, each of one question about every feature that has any left."""

    def rank(question: Question) -> int:
        return _rank(seed, "order", question.feature, question.entry.id)

    rounds = itertools.zip_longest(*(sorted(some, key=rank) for some in chosen.values()))
    return [question for some in rounds for question in sorted(filter(None, some), key=rank)]


def _rank(*words: object) -> int:
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def words(feature: Feature) -> list[str]:
    """Return a feature in the table's own words, without weights; the same for every picture that is asked about it."""
    phrases = [phrase for some in feature.phrases.values() for phrase in some if phrase]
    plain = ["".join(text for text, weight in parse(phrase) if weight is not None) for phrase in phrases]
    texts = list(dict.fromkeys(plain or feature.check.shows))
    more = [f"and {len(texts) - MOST_WORDS} more"] if len(texts) > MOST_WORDS else []
    return [*texts[:MOST_WORDS], *more]


def wording(feature: Feature) -> str:
    """Return what a judge is asked of every picture: the table's `question`, or one made of the feature's name."""
    return feature.question or f"Does this picture show: {feature.name.replace('_', ' ')}?"


class Session:
    """One judge's way through the questions: each answer is on disk before the next question is asked.

    `path` is a whole judgements file. What it already holds of this judge and these very pictures is not asked again,
    and can be undone. `answered` holds the answers by number.
    """

    def __init__(self, questions: list[Question], features: Iterable[Feature], path: Path, judge: str):
        self.questions = questions
        features = list(features)
        self.wording = {feature.name: wording(feature) for feature in features}
        self.words = {feature.name: words(feature) for feature in features}
        self.path = path
        self.judge = judge
        place = {(asked.entry.id, asked.feature): number for number, asked in enumerate(questions)}
        self.answered: dict[int, Judgement] = {}
        for _, told in standing(path).values():
            number = place.get((told.id, told.feature))
            if told.judge == judge and number is not None and told.is_of(questions[number].entry.sha256):
                self.answered[number] = told
        self.before = len(self.answered)
        self.skipped: list[int] = []
        self.steps = list(self.answered)

    def waiting(self) -> list[int]:
        """Return the questions that are still to be asked, by number, in order."""
        over = {*self.answered, *self.skipped}
        return [number for number in range(len(self.questions)) if number not in over]

    def state(self) -> dict[str, Any]:
        """Return what a judge is shown: the question, and how far it is; no question once all were asked."""
        waiting = self.waiting()
        feature = self.questions[waiting[0]].feature if waiting else None
        return {
            "number": waiting[0] if waiting else None,
            "question": self.wording[feature] if feature else None,
            "words": self.words[feature] if feature else [],
            "answered": len(self.answered),
            "skipped": len(self.skipped),
            "of": len(self.questions),
            "undo": bool(self.steps),
        }

    def answer(self, number: int, answer: bool | None) -> None:
        """Take the answer to the question at hand, None to skip it; one to any other question is not meant."""
        if self.waiting()[:1] != [number]:
            return
        if answer is None:
            self.skipped.append(number)
        else:
            question = self.questions[number]
            judgement = Judgement(question.entry.id, question.feature, answer, self.judge, question.entry.sha256)
            append(self.path, judgement)
            self.answered[number] = judgement
        self.steps.append(number)

    def undo(self) -> None:
        """Take back the last answer or skip; its question is asked again."""
        if not self.steps:
            return
        number = self.steps[-1]
        if number in self.answered:
            append(self.path, replace(self.answered[number], shown=None))
            del self.answered[number]
        else:
            self.skipped.remove(number)
        self.steps.pop()
