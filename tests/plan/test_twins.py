"""Twins in the plan: the same person and seed without the feature, beside all others, which they do not change."""

from collections import Counter

import pytest

import agfd30k
from builder.common.errors import UserError
from builder.generation.config import GenerateConfig
from builder.plan import summary
from builder.plan.balance import spread
from builder.plan.plan import Plan
from builder.spec import field_types, table
from builder.spec.faults import SpecError
from builder.spec.twins import twin, with_twins
from tests.fixtures.builds import OWN_TABLE

SPEC = table.load()
PLAN, TWINNED = Plan(SPEC, limit=3000), Plan(SPEC, limit=3000, twins=True)


def asked(plan):
    return [sample for shard in plan.shards for sample in plan.asked(shard)]


def twins(plan):
    return [sample for sample in asked(plan) if sample.twin_of]


def test_twins_come_behind_all_others_and_change_none_of_them():
    """Ids, prompts, seeds and shards are those of the plan without twins."""
    assert asked(TWINNED)[: PLAN.chosen] == asked(PLAN) and list(TWINNED.shards)[: len(PLAN.shards)] == list(
        PLAN.shards
    )
    assert TWINNED.chosen == len(asked(TWINNED)) == PLAN.chosen + TWINNED.chosen_twins
    assert len({sample.id for sample in asked(TWINNED)}) == TWINNED.chosen
    seeds = [[plan.seed(sample.id, 3) for sample in asked(PLAN)] for plan in (PLAN, TWINNED)]
    assert seeds[0] == seeds[1]


def test_a_twin_is_the_same_person_with_the_same_seed_and_the_templates_prompts():
    base = next(feature for feature in SPEC.features if feature.name == "base")
    for sample in twins(TWINNED):
        other = sample.twin_of
        for key in ("sex", "ethnicity", "age", "age_group", "subject", "index", "split", "guidance_scale", "minor"):
            assert getattr(sample, key) == getattr(other, key)
        assert (sample.attribute, sample.feature, sample.phrase) == ("twins", "twin", "")
        assert sample.id == "-".join(["twins", *other.id.split("-")[1:]])
        assert all(TWINNED.seed(sample.id, number) == TWINNED.seed(other.id, number) for number in range(10))
        assert sample.prompt != other.prompt and not (other.phrase and other.phrase in sample.prompt)
        assert sample.negative_prompt.startswith(", ".join(base.negative))
        assert f"a close up portrait photo of {sample.age} y.o {sample.subject}" in sample.prompt


def test_every_feature_has_twins_but_those_that_are_the_template_itself():
    without = {"child", "teenager", "young_adult", "old_adult", "old", "base"}
    chosen = Counter(sample.feature for sample in asked(PLAN) if sample.feature not in without)
    assert Counter(sample.twin_of.feature for sample in twins(TWINNED)) == chosen
    assert {feature.name for feature in SPEC.features if twin(SPEC, feature) is None} == without


def test_a_shard_of_twins_has_those_of_one_shard_in_its_order():
    for shard in TWINNED.shards:
        if shard.of:
            assert shard.name == f"twins-{shard.of.name}" and agfd30k.SHARD.fullmatch(shard.name)
            originals = [sample for sample in TWINNED.asked(shard.of) if sample.feature not in ("child", "base")]
            assert [sample.twin_of for sample in TWINNED.asked(shard)] == originals
            assert TWINNED.ids(shard) == [sample.id for sample in TWINNED.asked(shard)]
            assert not PLAN.ids(shard)
            assert set(TWINNED.ids(shard)) <= TWINNED.whole(shard).keys()


def test_twins_are_as_balanced_as_what_they_are_twins_of():
    """Their people are those of the features, so every count of ethnicities and ages, and of both, is the same."""
    own = [sample.twin_of for sample in twins(TWINNED)]
    for key in (lambda s: s.ethnicity, lambda s: s.age, lambda s: (s.ethnicity, s.age), lambda s: s.split):
        counts = [Counter((o.feature, s.sex, key(s)) for o, s in zip(own, some)) for some in (own, twins(TWINNED))]
        assert counts[0] == counts[1]
    spreads = spread(SPEC, own)
    assert max(spreads[name] for name in ("ethnicity", "age", "phrase")) <= 2 and max(spreads.values()) <= 3


def test_the_table_with_a_row_of_twins_counts_them_all():
    row = with_twins(SPEC).features[-1]
    assert row.male + row.female == Plan(SPEC, twins=True).chosen_twins
    assert with_twins(SPEC).labels["feature"][-1] == agfd30k.TWIN and with_twins(SPEC).features[:-1] == SPEC.features


def test_loader_and_table_have_one_name_for_twins():
    assert (agfd30k.TWINS, agfd30k.TWIN) == (field_types.TWINS, field_types.TWIN)


@pytest.mark.parametrize(("word", "key"), [("twins", 'attribute = "drink"'), ("twin", 'name = "tea"')])
def test_no_table_takes_their_names(tmp_path, word, key):
    path = tmp_path / "own.toml"
    path.write_text(OWN_TABLE.replace(key, f'{key.split(" = ")[0]} = "{word}"'))
    with pytest.raises(SpecError, match=f"must not be that of the twins, got '{word}'"):
        table.load(path)


def test_asked_for_where_there_are_none_is_one_line():
    with pytest.raises(UserError, match="--twins: nothing that was chosen has twins"):
        assert GenerateConfig(only=("age",), twins=True).plan


def test_a_minors_twin_obeys_the_rules_for_minors(tmp_path):
    """What a row has dropped for its own sake comes back in its twins, and is told before anything is made."""
    path = tmp_path / "own.toml"
    minors = '[minors]\npositive = ["dressed"]\nnegative = ["nude"]\n\n[people]'
    text = OWN_TABLE.replace("[people]", minors).replace("ages = [30, 70]", "ages = [10]")
    text = text.replace('"{phrase}"]', '"{phrase}", "topless"]').replace("phrases =", 'drop = ["topless"]\nphrases =')
    path.write_text(text)
    assert GenerateConfig(table=path).plan.minors
    with pytest.raises(UserError, match=r"--twins: twins of banana: .*must not speak of nudity"):
        assert GenerateConfig(table=path, twins=True).plan


def test_a_table_without_its_template_has_no_twins():
    """Such as that of a build of an older version."""
    assert Plan(SPEC.changed(template=None), twins=True).chosen_twins == 0


def test_a_dry_run_counts_them():
    lines = [*summary.lines(TWINNED, None)]
    own = TWINNED.chosen - TWINNED.chosen_twins
    assert lines[0].startswith(f"AGFD-30K: {own:,} of 30,000 pictures and {TWINNED.chosen_twins:,} twins in ")
    assert lines[-2].split()[:2] == ["twins", f"{TWINNED.chosen_twins:,}"]
    assert lines[-1].split() == ["all", f"{TWINNED.chosen:,}"]


def test_a_template_that_needs_its_rows_changes_has_no_twins_and_harms_nothing_else(tmp_path):
    """A twin without its age is none: told where twins are asked for, and nowhere else."""
    path = tmp_path / "own.toml"
    text = OWN_TABLE.replace("photo of a {age} y.o {subject}", "photo of a {subject}")
    path.write_text(text.replace("phrases =", 'add = ["{age} y.o"]\nphrases ='))
    plan = GenerateConfig(table=path).plan
    assert "30 y.o" in plan.sample(0).prompt or "70 y.o" in plan.sample(0).prompt
    assert Plan(plan.spec, twins=True).chosen_twins == 40
    with pytest.raises(UserError, match=r"--twins: twins of banana: .*must keep the field \{age\}"):
        assert GenerateConfig(table=path, twins=True).plan
