"""Which pictures a person is asked about, in which order, and one judge's way through them."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.judging.judgements import Judgement, append, standing
from builder.judging.pictures import Entry
from builder.spec.prompt_syntax import parse
from builder.spec.spec import Feature

MOST_WORDS = 6


@dataclass(frozen=True)
class Question:
    """Does this picture show this feature? Nothing here tells the judge whether it was asked to."""

    entry: Entry
    feature: str


def choose(entries: Iterable[Entry], features: Iterable[str], each: int, seed: int) -> list[Question]:
    """Return, mixed, `each` pictures of every feature that were asked to show it, and as many that were not.

    A feature that no picture was asked for is left out. Pictures and order follow from the seed and the ids alone.
    Memory grows with what is chosen, not with what is there.
    """
    features = list(features)
    heaps: dict[tuple[str, bool], list] = {}
    for entry in entries:
        for feature in features:
            heap = heaps.setdefault((feature, entry.feature == feature), [])
            item = (-_rank(seed, feature, entry.id), entry.id, entry)
            if len(heap) < each:
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)
    questions = [Question(item[2], name) for (name, _), heap in heaps.items() if (name, True) in heaps for item in heap]
    return sorted(questions, key=lambda asked: _rank(seed, "order", asked.feature, asked.entry.id))


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


class Session:
    """One judge's way through the questions: each answer is on disk before the next question is asked.

    `path` is a whole judgements file. What it already holds of this judge and these very pictures is not asked again,
    and can be undone. `answered` holds the answers by number.
    """

    def __init__(self, questions: list[Question], features: Iterable[Feature], path: Path, judge: str):
        self.questions = questions
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
            "feature": feature and feature.replace("_", " "),
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
