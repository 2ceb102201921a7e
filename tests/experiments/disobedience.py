"""A generator that does not always do what it is asked, and a verifier that is not always right, both at known rates.

What must follow is arithmetic: every quota is filled with the very samples of the plan, a kept picture takes
1 / P(pass) tries, and the precision of what is kept, judged on a sample by the planted truth, lies in Wilson's interval
as often as that promises.
"""

import hashlib
import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from builder.checks.attribute import MINOR_LABELS, AttributeCheck
from builder.checks.suite import Checks
from builder.common.intervals import wilson
from builder.plan.plan import Plan
from builder.plan.sample import Result
from builder.raw.build import RawBuild
from builder.spec import table
from tests.experiments.kill import lines
from tests.fixtures.builds import picture_of
from tests.fixtures.inside import build

SHARES = {"male": 0.1, "female": 0.3}
"""How many of the tries disobey, within every feature."""
TRUE_POSITIVE, FALSE_POSITIVE = 0.9, 0.2
"""How many of the pictures that obey, and of those that do not, the verifier passes."""
ATTEMPTS = 20
COUNTS = ("tries", "kept", "obey")
JUDGED = 100
"""Pictures in a sample that is judged."""
UNLIKELY = 1e-6
"""What is less likely than this by the binomial distribution is no chance: a whole run looks at some hundred counts."""
PLAIN = ["--model", "preview", "--batch-size", "256"]
PLAIN += [word for name in ("integrity", "face", "duplicates") for word in ("--without", name)]


@dataclass(frozen=True)
class Cell:
    """What became of one feature and sex."""

    feature: str
    sex: str
    tries: int
    kept: int
    obey: int

    @property
    def p_pass(self):
        """The planted probability that a try is kept."""
        share = SHARES[self.sex]
        return (1 - share) * TRUE_POSITIVE + share * FALSE_POSITIVE

    @property
    def precision(self):
        """The planted share of kept pictures that obey."""
        return (1 - SHARES[self.sex]) * TRUE_POSITIVE / self.p_pass


def chance(seed, what):
    """A number from 0 to 1 that follows from a try's seed, another one for everything it is used for."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{what}".encode()).digest()[:7], "big") / 2**56


def obeys(sex, seed):
    """The planted truth of a try."""
    return chance(seed, "obeys") >= SHARES[sex]


class Generator:
    """Makes a picture of its own for every try, and remembers what it was for."""

    def __init__(self, known):
        self.known = known

    def generate(self, attempts):
        return [self.make(attempt) for attempt in attempts]

    def make(self, attempt):
        image = picture_of(attempt.seed, 32)
        self.known[image.tobytes()] = attempt
        return Result(attempt, image)


class Verifier:
    """Tells by the pixels which try a picture is, passes it at the planted rates, and a feature `never` not once."""

    def __init__(self, spec, known, never):
        self.labels = [feature.name for feature in spec.features]
        self.known = known
        self.never = never

    def read(self, images):
        return np.stack([self._read(self.known.pop(image.tobytes())) for image in images])

    def _read(self, attempt):
        sample = attempt.sample
        rate = TRUE_POSITIVE if obeys(sample.sex, attempt.seed) else FALSE_POSITIVE
        passes = chance(attempt.seed, "verifier") < rate and sample.feature != self.never
        others = np.where(np.isin(self.labels, MINOR_LABELS), 0.0, 1.0)  # nobody looks like a minor who shall not
        return np.where(np.array(self.labels) == sample.feature, 0.9 if passes else 0.1, others)


def run(folder, *arguments, never="", attempts=ATTEMPTS):
    """A build; returns what the command printed."""
    known = {}
    text = table.DEFAULT.read_text(encoding="utf-8")
    text = text.replace("max_attempts = 10 ", f"max_attempts = {attempts} ")
    (folder / "table.toml").write_text(text, encoding="utf-8")

    def checks(spec, sources, device):
        return Checks([], [AttributeCheck(spec.checks.attribute, Verifier(spec, known, never))])

    own = ["--spec", str(folder / "table.toml"), *PLAIN, *arguments]
    return build(folder, *own, load=lambda *a, **k: Generator(known), checks=checks)


def cells(folder):
    """What became of every feature and sex."""
    rows, rejected = lines(folder, "metadata.jsonl"), lines(folder, "rejected.jsonl")
    kept = Counter((row["feature"], row["sex"]) for row in rows)
    tries = kept + Counter(tuple(row["id"].split("-")[1:3]) for row in rejected)
    good = Counter((row["feature"], row["sex"]) for row in rows if obeys(row["sex"], row["seed"]))
    return [Cell(*key, tries[key], kept[key], good[key]) for key in kept]


def faults(folder, scale):
    """Whatever is not as the plan and arithmetic say."""
    rows, rejected = lines(folder, "metadata.jsonl"), lines(folder, "rejected.jsonl")
    plan = Plan(RawBuild.open(folder / "agfd30k-raw").spec, scale=scale)
    asked = {sample.id: sample for shard in plan.shards for sample in plan.asked(shard)}
    if Counter(row["id"] for row in rows) != Counter(asked.keys()):
        yield f"{len(rows)} rows of {len(asked)} samples asked for"
    for key in ("feature", "sex", "ethnicity", "age", "phrase", "split"):
        if wrong := [row["id"] for row in rows if row[key] != getattr(asked[row["id"]], key)]:
            yield f"`{key}` of {len(wrong)} rows is not the plan's"
    if design(rows) != design(vars(sample) for sample in asked.values()):
        yield "the counts of (feature, sex, ethnicity, age, phrase) are not the plan's"
    if wrong := [row["id"] for row in rows if row["verified"] is not True]:
        yield f"{len(wrong)} kept pictures are not verified"
    if wrong := [row for row in rejected if row["reason"] != "feature not seen" or not wanted(row, asked, plan)]:
        yield f"{len(wrong)} tries were rejected for no reason"
    for cell in cells(folder):
        named = f"{cell.feature}, {cell.sex}: of {cell.tries} tries {cell.kept} kept, of which {cell.obey} obey"
        if not likely(cell.kept, cell.tries, cell.p_pass) or not likely(cell.obey, cell.kept, cell.precision):
            yield f"{named}; planted {cell.p_pass:.3f} and {cell.precision:.3f}"


def likely(hits, total, p):
    """Can so many hits be chance, where each of `total` has probability p? Two-sided, exact."""
    return min(binom.cdf(hits, total, p), binom.sf(hits - 1, total, p)) > UNLIKELY


def design(rows):
    """How often each combination of the plan's factors occurs."""
    return Counter(tuple(row[key] for key in ("feature", "sex", "ethnicity", "age", "phrase")) for row in rows)


def wanted(row, asked, plan):
    """Was it right that the verifier did not pass this try?"""
    again = plan.seed(row["id"], row["attempt"])
    rate = TRUE_POSITIVE if obeys(asked[row["id"]].sex, again) else FALSE_POSITIVE
    return row["seed"] == again and chance(again, "verifier") >= rate


def coverage(folder, resamples=0, judged=JUDGED, rng=None):
    """How often Wilson's 95% interval covers the planted precision: (hits, trials, share that arithmetic expects).

    Without `resamples` every kept picture is judged once, in samples of `judged`, which are independent of each other;
    else so many samples are drawn for each feature and sex, and held against the precision of all its kept pictures.
    """
    rng = rng or random.Random(0)
    truth = {}
    for row in lines(folder, "metadata.jsonl"):
        truth.setdefault((row["feature"], row["sex"]), []).append(obeys(row["sex"], row["seed"]))
    hits, expected = 0, []
    for (_, sex), obey in truth.items():
        planted = Cell("", sex, 0, 0, 0).precision
        if resamples:
            samples = [rng.sample(obey, min(judged, len(obey))) for _ in range(resamples)]
            target = sum(obey) / len(obey)
        else:
            rng.shuffle(obey)
            samples = [obey[n : n + judged] for n in range(0, len(obey) - judged + 1, judged)]
            target = planted
        hits += sum(low <= target <= high for low, high in (wilson(sum(s), len(s)) for s in samples))
        expected += [promised(planted, judged)] * len(samples)
    return hits, len(expected), sum(expected) / len(expected) if expected else 1.0


def promised(p, n):
    """How often Wilson's 95% interval covers a share p in samples of n, by the binomial distribution."""
    covers = [k for k in range(n + 1) if wilson(k, n)[0] <= p <= wilson(k, n)[1]]
    return float(binom.pmf(covers, n, p).sum())


def table_lines(folder):
    """A row for every feature and sex, and one for each sex."""
    found = cells(folder)
    found += [
        Cell("all", sex, *(sum(getattr(cell, key) for cell in found if cell.sex == sex) for key in COUNTS))
        for sex in SHARES
    ]
    yield f"{'feature':<15}{'sex':<8}{'disobey':>8}{'kept':>8}{'tries':>8}{'tries each':>11}{'1 / P':>7}" + (
        f"{'precision':>11}{'planted':>9}"
    )
    for cell in found:
        each, exact = cell.tries / cell.kept, cell.obey / cell.kept
        yield f"{cell.feature:<15}{cell.sex:<8}{SHARES[cell.sex]:>8.0%}{cell.kept:>8,}{cell.tries:>8,}{each:>11.3f}" + (
            f"{1 / cell.p_pass:>7.3f}{exact:>11.3f}{cell.precision:>9.3f}"
        )


def given_up(folder, feature="mustache", attempts=12):
    """A feature that the verifier never passes, beside others: whatever is wrong about how the build ends."""
    said = run(folder, "--only", "others", "--scale", "0.01", never=feature, attempts=attempts)
    rejected = Counter(row["id"] for row in lines(folder, "rejected.jsonl") if f"-{feature}-" in row["id"])
    kept = Counter(row["feature"] for row in lines(folder, "metadata.jsonl"))
    others = {feature.name: feature for feature in table.load().attributes["others"]}
    asked = {name: round(f.male * 0.01) + round(f.female * 0.01) for name, f in others.items()}
    if kept[feature] or len(rejected) != asked[feature] or set(rejected.values()) != {attempts}:
        yield f"{feature}: {kept[feature]} kept, {len(rejected)} of {asked[feature]} given up, tries {rejected}"
    (line,) = (line for line in said.splitlines() if line.startswith(feature))
    if line.split()[1:5] != [str(asked[feature]), "0", "0", str(asked[feature])]:
        yield f"the report says: {line}"
    if RawBuild.open(folder / "agfd30k-raw").unfinished() or not (folder / "agfd30k" / "README.md").is_file():
        yield "the build did not end"
