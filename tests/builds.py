"""Small builds for tests, made by the real plan, shards and release, without torch: only the model is left out."""

import numpy as np
from PIL import Image

from builder import raw, table
from builder.checks import Outcome
from builder.models import Source
from builder.plan import Plan
from builder.rows import rejection
from builder.shards import ShardWriter

SIDE = 16
SOURCE = Source("preview", "stand-in", "preview", "built-in")
MADE_BY = {"model": SOURCE.name, "model_revision": SOURCE.revision}
SETTINGS = {"image_format": "png", "shard_size": 16, "safety_checker": "", "unchecked_adults": False}

OWN_TABLE = """
name = "Fruit sellers"
release = "fruit-1"

[recipe]
model = "preview"

[prompt]
positive = ["photo of a {age} y.o {subject}", "{ethnicity}", "{phrase}"]
negative = ["drawing"]

[people]
ages = [30, 70]
subjects = { male = ["man"], female = ["woman"] }

[ethnicities]
maori = "Maori"
inuit = "Inuit"

[age_groups]
young = 0
aged = 50

[[feature]]
attribute = "fruit"
name = "banana"
male = 12
female = 8
phrases = ["(banana:1.2)", "two bananas"]

[[feature]]
attribute = "drink"
name = "tea"
male = 10
female = 10
phrases = ["a cup of tea"]
"""


def picture_of(seed, side=SIDE):
    """A small picture, all its own, that follows from the seed alone: smooth patches, and grain that takes bytes."""
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(patches.resize((side, side), Image.Resampling.BICUBIC), dtype=np.int16)
    grain = rng.integers(-60, 61, smooth.shape)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def shown(attempt):
    """What a stand-in shows at a try: for an eighth of them one of a few pictures that others show too, for a tenth
    nothing but black, else a picture of its own.
    """
    if attempt.seed % 8 == 1:
        return picture_of(attempt.seed // 8 % 24)
    return Image.new("RGB", (SIDE, SIDE)) if attempt.seed % 10 == 3 else picture_of(attempt.seed)


def refused(attempt):
    """A tenth of all tries is refused."""
    return attempt.seed % 10 == 0


def write(writer, attempt, checker="", outcome=None):
    """Put the picture of a try in its place; returns its row."""
    return writer.write_picture(attempt, picture_of(attempt.seed), checker, outcome or Outcome())


def write_shard(folder, plan, shard, batches=None, finish=True, ending="png"):
    """Make a shard, or its first batches of four."""
    with ShardWriter(folder / "shards" / shard.name, plan.whole(shard), plan, ending, MADE_BY) as writer:
        while (pending := writer.pending(plan.asked(shard))[:4]) and batches != 0:
            kept = [attempt for attempt in pending if not refused(attempt)]
            rows = [write(writer, attempt) for attempt in kept]
            gone = [rejection(attempt, "refused") for attempt in pending if refused(attempt)]
            writer.commit(rows, gone)
            batches = None if batches is None else batches - 1
        if finish:
            writer.finish(fingerprint=fingerprint_of(folder), versions={}, finished="")


def fingerprint_of(folder):
    """What a raw build's receipts must say; any word for shards that lie in no build."""
    return (raw.read(folder) or {"fingerprint": "test"})["fingerprint"]


def write_raw(folder, spec=None, toml="", only=(), scale=1.0, limit=None, **settings):
    """A whole raw build; returns its plan."""
    settings = {**SETTINGS, **settings}
    if spec is None:
        spec, toml = table.load(), table.DEFAULT.read_text(encoding="utf-8")
    plan = Plan(spec, only, scale, limit, settings["shard_size"])
    raw.begin(folder, raw.document(spec, SOURCE, toml, **settings))
    raw.note_asked(folder, plan)
    for shard in plan.shards:
        write_shard(folder, plan, shard, ending=settings["image_format"])
    raw.note_searched(folder, raw.finished(folder))
    return plan


def own_table(folder):
    """A user's own table, as a file and as a Spec."""
    path = folder / "fruit.toml"
    path.write_text(OWN_TABLE)
    return path, table.load(path)
