"""The plan: every sample by number, choices that change nothing else, and balance."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.common.errors import UserError
from builder.plan import summary
from builder.plan.balance import spread
from builder.plan.factorial import design
from builder.plan.plan import Plan, ShardsByName
from builder.plan.sample import MULTIPLIER, SPLITS, seed
from builder.spec import table
from builder.spec.spec import SEXES, Feature, Recipe, Spec

ROOT = Path(__file__).parents[2]
SPEC = table.load()
PLAN = Plan(SPEC)
SAMPLES = [sample for shard in PLAN.shards for sample in PLAN.asked(shard)]
quick = settings(max_examples=40, deadline=None)


@st.composite
def specs(draw) -> Spec:
    """Small tables of one to four rows in up to two attributes, whose quotas and sizes are uneven."""

    def some(*values):
        return tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=len(values), unique=True)))

    features = []
    for number in range(draw(st.integers(1, 4))):
        male = draw(st.integers(0, 60))
        row = Feature(
            attribute=draw(st.sampled_from(["hair", "hat"])),
            name=f"row{number}",
            male=male,
            female=draw(st.integers(0 if male else 1, 60)),
            ages=some(3, 20, 40, 70),
            subjects={sex: some("man", "woman", "girl") for sex in SEXES},
            phrases={sex: some("a", "b", "c", "d", "e") for sex in SEXES},
            guidance_scale=7.0,
            positive=("{age} {subject}", "{ethnicity}", "{phrase}"),
            negative=("ugly",),
        )
        features.append(row)
    return Spec(
        name="small",
        release="small-1",
        recipe=Recipe(model="preview"),
        features=tuple(features),
        ethnicities={word: word for word in some("red", "green", "blue", "white", "black")},
        age_groups={"young": 0, "grown": 18},
        minors={"positive": ("dressed",), "negative": ("nude",)},
    )


@st.composite
def choices(draw, spec: Spec) -> dict:
    """What --only, --scale, --limit and --shard-size may be for a table."""
    words = [*spec.attributes, *(f"{row.attribute}/{row.name}" for row in spec.features)]
    return {
        "only": draw(st.lists(st.sampled_from(words), max_size=2)),
        "scale": draw(st.just(1.0) | st.floats(0.001, 1)),
        "limit": draw(st.none() | st.integers(1, 150)),
        "shard_size": draw(st.integers(1, 40)),
    }


small = specs().flatmap(lambda spec: st.tuples(st.just(spec), choices(spec)))


def asked(plan: Plan) -> list:
    return [sample for shard in plan.shards for sample in plan.asked(shard)]


def counts(plan: Plan) -> dict:
    """(feature, sex) → how many pictures are asked for."""
    return Counter((sample.feature, sample.sex) for sample in asked(plan))


def test_sample_by_number_in_the_table():
    """`sample(i)` of the default table is the i-th of all shards' samples; ids are unique."""
    assert [PLAN.sample(number) for number in range(len(PLAN))] == SAMPLES
    assert len({sample.id for sample in SAMPLES}) == len(SAMPLES) == PLAN.chosen == 30_000


@quick
@given(small)
def test_sample_by_number(case):
    """`sample(i)` is the i-th of all shards' samples, whatever the shard size; ids are unique."""
    spec, options = case
    plan = Plan(spec, shard_size=options["shard_size"])
    samples = asked(plan)
    assert samples == [Plan(spec).sample(number) for number in range(len(plan))]
    assert len({sample.id for sample in samples}) == sum(row.male + row.female for row in spec.features)


@pytest.mark.parametrize("number", [-1, 30_000])
def test_no_such_sample(number):
    """A number outside the plan is an IndexError, never another picture."""
    with pytest.raises(IndexError):
        PLAN.sample(number)


@quick
@given(small)
def test_a_choice_changes_no_sample(case):
    """--only, --scale and --limit take a cell's first samples, and leave prompt, split and all else as they were."""
    spec, options = case
    whole = {sample.id: sample for sample in asked(Plan(spec))}
    chosen = asked(Plan(spec, **options))
    assert all(whole[sample.id] == sample for sample in chosen)
    assert len(chosen) == len(set(chosen)) == Plan(spec, **options).chosen
    indexes = {}
    for sample in sorted(chosen, key=lambda sample: sample.index):
        indexes.setdefault((sample.feature, sample.sex), []).append(sample.index)
    assert all(found == list(range(len(found))) for found in indexes.values())


@pytest.mark.parametrize(
    "options", [{"limit": 1000}, {"scale": 0.01}, {"only": ["pose", "age/old"], "limit": 77}], ids=str
)
def test_a_choice_from_the_table(options):
    """A choice from the default table is a subset of it, sample by sample, in the same shards."""
    plan, whole = Plan(SPEC, **options), {sample.id: sample for sample in SAMPLES}
    assert all(whole[sample.id] == sample for sample in asked(plan))
    assert {shard.name: shard for shard in plan.shards}.items() <= {shard.name: shard for shard in PLAN.shards}.items()


@quick
@given(small)
def test_limit_and_scale(case):
    """Scale keeps at least 1 picture of each cell that is wanted; a limit is met exactly, and takes rounds in which
    every cell gives in proportion to what it has, so that no cell is more than a round ahead of another.
    """
    spec, options = case
    limit = options.pop("limit") or 1
    scaled = counts(Plan(spec, **options))
    for row, sex in itertools.product(spec.features, SEXES):
        wanted = not options["only"] or {row.attribute, f"{row.attribute}/{row.name}"} & set(options["only"])
        share = round(row.quota(sex) * options["scale"])
        assert scaled[row.name, sex] == (min(row.quota(sex), max(1, share)) if wanted else 0)
    total = sum(scaled.values())
    limited = counts(Plan(spec, limit=limit, **options))
    assert sum(limited.values()) == min(limit, total)
    rounds = max(scaled.values(), default=1)

    def given(turn):
        return {cell: -(-turn * count // rounds) for cell, count in scaled.items()}

    assert any(
        all(given(turn)[cell] <= limited[cell] <= given(turn + 1)[cell] for cell in scaled) for turn in range(rounds)
    )


@quick
@given(small)
def test_shards(case):
    """A shard is a run of one attribute; its ids are those of what is asked, and lie in the whole that it can hold."""
    spec, options = case
    plan = Plan(spec, **options)
    assert len({shard.name for shard in plan.shards}) == len(plan.shards)
    for shard in plan.shards:
        samples, whole = plan.asked(shard), plan.whole(shard)
        assert {sample.attribute for sample in whole.values()} == {shard.attribute}
        assert len(whole) == shard.stop - shard.start <= options["shard_size"]
        assert plan.ids(shard) == [sample.id for sample in samples]
        assert samples == [sample for id, sample in whole.items() if id in plan.ids(shard)]
        assert whole == Plan(spec, shard_size=options["shard_size"]).whole(shard)


@pytest.mark.parametrize("twins", [False, True])
def test_shards_are_found_by_name_and_by_number(twins):
    """As if all were there; whatever else has a name like one is none."""
    shards = Plan(SPEC, shard_size=100, twins=twins).shards
    listed, by_name = list(shards), ShardsByName(shards)
    assert listed == [shards[number] for number in range(len(shards))] and len(by_name) == len(listed) >= 300
    assert listed == list(by_name.values()) == [by_name[shard.name] for shard in listed]
    assert any(shard.of for shard in listed) == twins
    others = [
        "",
        "age",
        "age-",
        "age-0",
        "age-00000-00000",
        "age-99999",
        "age-000000",
        "age--0001",
        "age-٠٠٠٠٠",
        "x-00000",
    ]
    others += ["twins-base-00000", "twins-age-99999", "twins-twins-age-00000", "age-" + "0" * 5000]
    assert [name for name in others if name in by_name] == []
    with pytest.raises(IndexError):
        shards[len(shards)]


def test_unknown_word():
    """An --only word that names nothing is refused by name, with what there is and what was meant."""
    attributes = f" (attributes: {', '.join(SPEC.attributes)})"
    ages = f" (age has: {', '.join(feature.name for feature in SPEC.features if feature.attribute == 'age')})"
    for word, says in {
        "hats": "attribute or attribute/feature" + attributes,
        "": "attribute or attribute/feature" + attributes,
        "child": "attribute or attribute/feature; did you mean age/child?" + attributes,
        "agee": "attribute or attribute/feature; did you mean age?" + attributes,
        "hats/cap": "attribute or attribute/feature" + attributes,
        "age/": "feature" + ages,
        "age/smile": "feature" + ages,
        "age/chlid": "feature; did you mean age/child?" + ages,
    }.items():
        with pytest.raises(UserError) as caught:
            Plan(SPEC, only=["age", word])
        assert str(caught.value) == f"--only {word}: no such {says}"


def test_balance_of_the_table():
    """Per feature and sex, counts of ethnicity, age and phrase differ by at most 2, those of pairs by at most 3."""
    found = spread(SPEC, SAMPLES)
    assert len(found) == 6
    assert all(value <= (3 if "×" in name else 2) for name, value in found.items())
    ethnicities = Counter(sample.ethnicity for sample in SAMPLES)
    assert len(ethnicities) == 5 and max(ethnicities.values()) - min(ethnicities.values()) <= 2


@quick
@given(specs())
def test_ethnicities_of_a_whole_table(spec):
    """In any table the ethnicities' counts, over all features, differ by at most 2: no cell's remainder adds up."""
    found = Counter(sample.ethnicity for sample in asked(Plan(spec)))
    total = [found[label] for label in spec.ethnicities]
    assert max(total) - min(total) <= 2


@pytest.mark.parametrize("split", ["validation", "test"])
def test_balance_of_what_is_held_out(split):
    """Validation and test are balanced within every feature and sex as the whole is."""
    assert max(spread(SPEC, [sample for sample in SAMPLES if sample.split == split]).values()) <= 3


SIZES = [(1, 1, 1), (5, 1, 1), (5, 2, 1), (5, 3, 2), (5, 4, 3), (5, 4, 4), (5, 4, 5), (5, 4, 26), (2, 2, 2), (7, 3, 11)]


@pytest.mark.parametrize("sizes", [*SIZES, (3, 5, 5), (5, 5, 5), (5, 5, 6), (7, 7, 5), (8, 8, 8), (5, 10, 10)], ids=str)
def test_every_prefix_of_a_design(sizes):
    """A design has every combination once; in each of its prefixes levels differ by at most 2, pairs by at most 3."""
    rows = design(sizes)
    assert len({tuple(row) for row in rows}) == len(rows) == math.prod(sizes)
    for factors in [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]:
        shape = [sizes[factor] for factor in factors]
        levels = np.ravel_multi_index([rows[:, factor] for factor in factors], shape)
        taken = np.cumsum(levels[:, None] == np.arange(math.prod(shape)), axis=0)
        worst = int(np.ptp(taken, axis=1).max())
        assert worst <= len(factors) + 1, factors


def splits_of_tens(samples) -> Counter:
    """How often each number of (train, validation, test) occurs among the whole tens of the cells."""
    tens = {}
    for sample in samples:
        tens.setdefault((sample.feature, sample.sex, sample.index // 10), []).append(sample.split)
    return Counter(tuple(map(splits.count, SPLITS)) for splits in tens.values() if len(splits) == 10)


def test_splits_of_the_table():
    """Every ten pictures of a cell are 8 for training, 1 for validation, 1 for test; so is the whole."""
    assert splits_of_tens(SAMPLES) == {(8, 1, 1): 3000}
    assert Counter(sample.split for sample in SAMPLES) == {"train": 24_000, "validation": 3000, "test": 3000}


@quick
@given(small)
def test_splits(case):
    """The same holds in any table."""
    assert set(splits_of_tens(asked(Plan(case[0])))) <= {(8, 1, 1)}


def test_seeds():
    """No two tries at any pictures of the table have the same seed, and torch's generator takes every bit of it."""
    seeds = {PLAN.attempt(sample, number).seed for sample in SAMPLES for number in range(SPEC.recipe.max_attempts)}
    assert len(seeds) == len(SAMPLES) * SPEC.recipe.max_attempts
    assert min(seeds) >= 0 and max(seeds) < 2**32


def test_seed_of_an_attempt():
    """A seed follows from the release word and the try's number in the whole table, whatever was chosen of it."""
    plan = Plan(SPEC, ["age/child"], limit=9, shard_size=2)
    attempt = plan.attempt(SAMPLES[0], 0)
    assert (attempt.sample.id, attempt.number, attempt.seed) == ("age-child-male-00000", 0, 1_013_481_577)
    assert plan.seed("age-child-female-00007", 2) == seed("agfd30k-1", 2 * 30_000 + 300 + 7)
    assert Plan(SPEC.changed(release="other")).attempt(SAMPLES[0], 0).seed != attempt.seed


@quick
@given(small, st.integers(0, 3))
def test_seeds_of_any_table(case, number):
    """A choice changes no seed; the seeds of all tries differ in tables of any cells."""
    spec, options = case
    whole, plan = Plan(spec), Plan(spec, **options)
    assert all(plan.attempt(sample, number) == whole.attempt(sample, number) for sample in asked(plan))
    tries = [whole.seed(sample.id, n) for sample in asked(whole) for n in range(number + 1)]
    assert len(set(tries)) == len(tries)


def test_all_tries_of_a_million_pictures_have_seeds_of_their_own():
    """So no picture of a large table begins from the noise of another one."""
    half = 10**6 // 2
    plan = Plan(SPEC.changed(features=(SPEC.features[-1].changed(male=half, female=half),)))
    tries = len(plan) * SPEC.recipe.max_attempts
    seeds = seed(SPEC.release, np.arange(tries, dtype=np.uint64))
    assert tries == 10**7 and seeds.max() < 2**32
    assert plan.seed(f"base-base-female-{half - 1}", 9) == seeds[-1]
    ordered = np.sort(seeds.astype(np.uint32))
    assert (ordered[1:] != ordered[:-1]).all()


@given(st.text(min_size=1), st.integers(0, 2**32 - 1))
def test_seeds_are_a_permutation_of_32_bits(release, number):
    """Every number is found again from its seed, so that no two have the same; beyond 2^32 they begin again."""
    again, inverse = seed(release, number), pow(MULTIPLIER, -1, 2**32)
    for key in reversed(struct.unpack(">4I", hashlib.sha256(release.encode()).digest()[:16])):
        again ^= again >> 16
        again = again * inverse % 2**32 ^ key
    assert again == number
    assert seed(release, number + 2**32) == seed(release, number)


@pytest.mark.parametrize("release", ["agfd30k-1", "agfd30k-2", "", "x"])
def test_seeds_look_random(release):
    """Every bit is set in half of the seeds, and flips with a half chance to the next, whatever the release word is."""
    seeds = seed(release, np.arange(100_000, dtype=np.uint64)).astype(np.uint32)
    other = seed(f"{release}!", np.arange(100_000, dtype=np.uint64)).astype(np.uint32)
    for numbers in (seeds, seeds[1:] ^ seeds[:-1], seeds[30_000:] ^ seeds[:-30_000], seeds ^ other):
        shares = np.unpackbits(numbers.view(np.uint8)).reshape(-1, 32).mean(axis=0)
        assert np.abs(shares - 0.5).max() < 5 * 0.5 / len(numbers) ** 0.5
    for divisor in (2, 8, 10, 256):  # five standard deviations of a fair share
        counts = np.bincount(seeds % divisor, minlength=divisor)
        assert np.abs(counts - 100_000 / divisor).max() < 5 * (100_000 / divisor) ** 0.5


def test_noise_of_neighbours_is_not_alike():
    """The initial noise of one sample's tries, and of samples side by side, is uncorrelated."""
    torch = pytest.importorskip("torch")
    attempts = [PLAN.attempt(sample, number) for sample in SAMPLES[:20] for number in range(5)]
    noise = torch.stack([torch.randn(4096, generator=torch.Generator().manual_seed(a.seed)) for a in attempts])
    alike = torch.corrcoef(noise) - torch.eye(len(attempts))
    assert alike.abs().max() < 6 / 4096**0.5


def test_memory_of_a_huge_table():
    """Memory does not grow with the quotas: 100 million pictures plan in under 20 MB, and any is at hand at once."""
    row = SPEC.features[-1].changed(male=50_000_000, female=50_000_000)
    spec = SPEC.changed(features=(row,))
    tracemalloc.start()
    try:
        plan = Plan(spec)
        ids = [plan.sample(number).id for number in (0, 10**8 // 2, 10**8 - 1)]
        assert len(asked(Plan(spec, limit=100))) == 100
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert len(plan) == 10**8
    assert ids == ["base-base-male-00000", "base-base-male-25000000", "base-base-female-49999999"]


def test_dry_run():
    """A dry run shows the pictures of each config and in all, and each feature with an example."""
    lines = list(summary.lines(PLAN, str.split))
    assert lines[0].startswith("AGFD-30K: 30,000 of 30,000 pictures in ")
    shown = {line.split()[0]: line.split()[1] for line in lines[6:] if not line.startswith(" ")}
    assert shown == {
        **{"age": "4,200", "emotion": "2,400", "occlusion": "3,600", "illumination": "1,800", "pose": "4,600"},
        **{"hair": "4,200", "others": "7,600", "base": "1,600", "all": "30,000"},
    }
    [complex_row] = [line for line in lines if line.startswith("  complex ")]
    assert complex_row.split()[1:3] == ["600", "26"] and "RAW photo, a close up portrait" in complex_row


def test_dry_run_needs_no_model(tmp_path):
    """`builder/generate.py --dry-run` prints its table and what a run would take, without what loads models."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "builder/generate.py", "--dry-run"],
        **{
            "cwd": ROOT,
            "capture_output": True,
            "text": True,
            "env": {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        },
    )
    assert done.returncode == 0, done.stderr
    *_, last, _, block = done.stdout.splitlines()
    assert last.split() == ["all", "30,000"]
    assert block.startswith("not looked up: model SG161222/Realistic_Vision_V2.0: the Hub cannot be reached")
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "builder.plan.plan" in imported and not {"diffusers", "transformers"} & imported
