"""The models' part of a run: when it is compiled, and a build as a card makes it."""

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from builder.checks.duplicates import HashCheck
from builder.checks.suite import Checks
from builder.generation import maker
from builder.generation.maker import MEASURED, Maker
from builder.generation.process import Rank
from builder.models import acceleration, loading, pipeline
from tests.experiments.kill import lines
from tests.fixtures import checkers, inside, random_weights
from tests.fixtures.builds import OWN_TABLE
from tests.fixtures.cards import Card, Rehearsal

CPU = torch.device("cpu")
SMALL = OWN_TABLE.replace("width = 16\nheight = 16", "width = 64\nheight = 64\nsteps = 2\nmax_attempts = 2")


class Model:
    """Takes so many seconds a batch on a clock of its own, and remembers after how many batches it was compiled."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds
        self.batches, self.compiled = 0, None

    def generate(self, attempts):
        self.batches += 1
        self.clock.now += self.seconds
        return []

    def compile(self, processes):
        self.compiled = self.batches


class Silent:
    """A progress that says what it is told of."""

    def __init__(self):
        self.said = []

    def begin(self):
        pass

    def during(self, activity):
        self.said.append(activity)
        return acceleration.nullcontext()


def compiled_after(monkeypatch, seconds, left, processes=1, on=None):
    """After how many of ten batches of four pictures a model is compiled, and what was said."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(maker, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(acceleration, "accelerator", lambda device: on or Rehearsal(Card(free=2e10)))
    spec = SimpleNamespace(recipe=SimpleNamespace(width=512, height=512))
    made = Maker(spec, Rank(0, processes, CPU), None, None, 4, lambda: left)
    made.pipeline, progress = Model(clock, seconds), Silent()
    tries = [SimpleNamespace(opened=SimpleNamespace(begin=lambda: None), attempt=None)] * 4
    for _ in range(10):
        made.make(tries, progress)
    return made.pipeline.compiled, progress.said


@pytest.mark.parametrize(("left", "processes", "pays"), [(610, 1, True), (590, 1, False), (4810, 8, True)])
def test_a_model_is_compiled_where_enough_is_left(monkeypatch, left, processes, pays):
    """A second a picture, each process its share: from ten minutes on, once, after the batches that measure it."""
    found, said = compiled_after(monkeypatch, 4.0, left, processes)
    assert found == (MEASURED if pays else None)
    assert said == ["compiling the model, which makes the rest faster"] * pays


def test_nothing_is_compiled_on_a_cpu(monkeypatch):
    assert compiled_after(monkeypatch, 4.0, 10**6, on=acceleration.Accelerator(CPU)) == (None, [])


def test_the_batch_is_as_large_as_the_card_has_room_for():
    """Unless somebody says another number."""
    spec = SimpleNamespace(recipe=SimpleNamespace(width=512, height=512))
    assert Maker(spec, Rank(0, 1, CPU), None, None, None, None).batch_size == 8
    assert Maker(spec, Rank(0, 1, CPU), None, None, 3, None).batch_size == 3


@pytest.fixture
def card(monkeypatch):
    """Every CPU is a rehearsed card."""
    made = Card(free=6e9)
    monkeypatch.setattr(acceleration, "accelerator", lambda device: Rehearsal(made))
    monkeypatch.setattr(pipeline, "accelerator", lambda device: Rehearsal(made))
    return made


class Watchful(HashCheck):
    """Remembers on which stream pictures were looked at."""

    def __init__(self, card, seen):
        self.card, self.seen = card, seen

    def judge(self, samples, images, seen=()):
        self.seen.append(self.card.current_stream())
        return super().judge(samples, images, seen)


@pytest.mark.parametrize("flags", [False, True])
def test_a_build_on_a_card(tmp_path, card, flags):
    """Batches in flight, late copies, safety checker and classifiers on a stream of their own: every picture is there
    and whole, and of flagged ones not a byte.
    """
    (tmp_path / "table.toml").write_text(SMALL)
    parts = dict(zip(("safety_checker", "feature_extractor"), checkers.build(flags)))
    pipe = type(random_weights.build())(**{**random_weights.build().components, **parts}, requires_safety_checker=False)
    pipe.save_pretrained(tmp_path / "model")
    seen = []

    def checks(spec, sources, device):
        return Checks([], [Watchful(card, seen)])

    asked = ["--spec", str(tmp_path / "table.toml"), "--model", str(tmp_path / "model"), "--only", "fruit"]
    places = ["--raw", str(tmp_path / "agfd30k-raw"), "--out", str(tmp_path / "agfd30k")]
    done = inside.run(*asked, *places, load=loading.load, checks=checks)
    rows, images = lines(tmp_path, "metadata.jsonl"), list(tmp_path.glob("agfd30k-raw/shards/*/images/*"))
    assert card.waits > 2 and card.queued == [], done.stderr
    if flags:
        reasons = Counter(row["reason"] for row in lines(tmp_path, "rejected.jsonl"))
        assert set(reasons) == {"flagged by the safety checker"} and rows == images == [] == seen
    else:
        assert done.returncode == 0, done.stderr
        assert len(rows) == len(images) > 10 and all(seen) and card.released == 1
