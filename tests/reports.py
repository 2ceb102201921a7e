"""Small releases with checks for the tests of the report, and its pages taken apart."""

import json
import random
from html.parser import HTMLParser

import builds
import numpy as np
import pytest
from PIL import Image

from builder import raw, release, table
from builder.checks import Outcome
from builder.checks.duplicates import HashCheck, perceptual_hash
from builder.checks.verdict import Verdict
from builder.models import Source
from builder.rows import rejection

HUB = Source("hub", "someone/stand-in", "someone/stand-in", "0123456789abcdef0123456789abcdef01234567")
CHECKS = ("integrity", "face", "attribute", "duplicates")
VILE = (
    "</script><script>document.title = 1</script>",
    "<img src=x onerror=document.title=2>",
    "<!--<script>",
    "' onfocus=x \\\" autofocus",
)
"""Phrases that would break out of a page that does not escape them."""
VILE_TABLE = builds.OWN_TABLE.replace("Fruit sellers", f"Fruit {VILE[0]}").replace(
    '["(banana:1.2)", "two bananas"]', "[" + ", ".join(f'"{phrase}"' for phrase in VILE) + "]"
)


class Always:
    """A check that says what it is told."""

    version, rejects = 1, False

    def __init__(self, name):
        self.name = name


def judged(attempt, image):
    """An outcome that follows from the seed: two thirds pass, a sixth fails, a sixth is not judged."""
    dice = random.Random(attempt.seed)
    outcome, passed = Outcome(), dice.choice([True, True, True, True, False, None])
    seen = {"attribute_score": dice.random() if passed is not None else None, "sex_score": 0.25}
    outcome.add(Always("integrity"), Verdict(True, {"luminance": 0.5}))
    outcome.add(Always("attribute"), Verdict(passed, seen))
    outcome.add(HashCheck(), Verdict(None, {"hash": perceptual_hash(image)}))
    return outcome


def write(writer, attempt, checker="", outcome=None):
    """As builds.write, but with an outcome."""
    image = builds.picture_of(attempt.seed)
    return writer.write_picture(attempt, image, checker, outcome or judged(attempt, image))


def reject(attempt, reason):
    """As shards.rejection, for a feature that was not seen: with its score."""
    return rejection(attempt, "feature not seen", "", {"attribute_score": random.Random(attempt.seed).random() / 2})


def make(folder, source=HUB, toml=builds.OWN_TABLE, checks=CHECKS, **patched):
    """A release of small pictures with checks, by the real code; `patched` replaces functions of `builds`."""
    folder.mkdir(parents=True)
    sections = [f"[checks.{name}]\n" + ('model = "some/clip"\n' if name == "attribute" else "") for name in checks]
    toml = toml if "[checks" in toml else toml.replace("[people]", "".join(sections) + "\n[people]", 1)
    (folder / "table.toml").write_text(toml)
    noted = [{"name": name, "version": 1, "model": None} for name in checks]
    document = raw.document
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "SOURCE", source)
        patch.setattr(builds, "MADE_BY", {"model": source.name, "model_revision": source.revision})
        patch.setattr(raw, "document", lambda spec, model, text, **rest: document(spec, model, text, noted, **rest))
        for name, function in {"write": write, "rejection": reject, **patched}.items():
            patch.setattr(builds, name, function)
        builds.write_raw(folder / "raw", table.load(folder / "table.toml"), toml)
    release.make(folder / "raw", folder / "fruit")
    return folder / "fruit"


class Html(HTMLParser):
    """A page taken apart: every element with its attributes, the text of scripts by id, tables row by row, all text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.scripts, self.rows, self.text, self.open = [], {}, [], "", None
        self.page = path.read_text(encoding="utf-8")
        self.feed(self.page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open = tag
        if tag == "script":
            self.scripts[dict(attributes).get("id")] = ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.open = None if tag in ("script", "style", "th", "td") else self.open

    def handle_data(self, data):
        if self.open == "script":
            self.scripts[[*self.scripts][-1]] += data
        elif self.open != "style":
            self.text += data
            if self.open in ("th", "td", "small") and self.rows and self.rows[-1]:
                self.rows[-1][-1] += data

    @property
    def data(self):
        """What the page's script reads."""
        return json.loads(self.scripts["data"])

    @property
    def images(self):
        return json.loads(self.scripts["images"])


def pixels(image):
    return np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BOX), dtype=float)
