"""The criteria of the checks: every rule of [checks] and of a feature's `check` is one line, and nothing gets lost."""

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from builder.common.errors import UserError
from builder.generate import main as generate
from builder.models.identity import Source
from builder.raw.recipe import BuildRecipe
from builder.spec import table
from builder.spec.criteria import KINDS, Criteria, Shown
from builder.spec.faults import SpecError
from tests.fixtures import builds

SPEC = table.load()
MODEL = {"model": "some/model"}


def said(call, *arguments):
    with pytest.raises(SpecError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused(tmp_path, **changes):
    """The line with which the default table is refused, once its [checks] or a row's `check` is another."""
    document = tomllib.loads(table.DEFAULT.read_text(encoding="utf-8"))
    document.update({"checks": changes["checks"]} if "checks" in changes else {})
    document["feature"][0].update({"check": changes["check"]} if "check" in changes else {})
    (tmp_path / "my.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    return said(table.load, tmp_path / "my.toml")


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ([], "`checks` must be a table"),
        ({"face": 3}, "`checks.face` must be a table"),
        ({"faces": {}}, "unknown key in [checks], got 'faces': did you mean `face`?"),
        ({"x": {}}, "unknown key in [checks] (known: attribute, duplicates, face, integrity), got 'x'"),
        ({"integrity": {"sharp": 1}}, "unknown key in [checks.integrity], got 'sharp': did you mean `sharpness`?"),
        ({"integrity": {"sharpness": -1}}, "`checks.integrity.sharpness` must be a number from 0 to 10,000, got -1"),
        ({"integrity": {"noise": "little"}}, "`checks.integrity.noise` must be a number from 0 to 2, got 'little'"),
        ({"integrity": {"noise": float("nan")}}, "`checks.integrity.noise` must be a number from 0 to 2, got nan"),
        ({"face": {"detector": ""}}, "`checks.face.detector` must be a non-empty string, got ''"),
        ({"face": {"revision": 1}}, "`checks.face.revision` must be a non-empty string, got 1"),
        ({"face": {"smallest": 0}}, "`checks.face.smallest` must be a number from 0.02 to 1, got 0"),
        ({"face": {"detector": "classifier"}}, '[checks.face] with detector = "classifier" needs [checks.attribute]'),
        ({"attribute": {}}, "[checks.attribute] needs the key `model`"),
        ({"attribute": {"model": 7}}, "`checks.attribute.model` must be a non-empty string, got 7"),
        ({"attribute": MODEL | {"revision": ""}}, "`checks.attribute.revision` must be a non-empty string"),
        ({"attribute": MODEL | {"threshold": 1.1}}, "`checks.attribute.threshold` must be a number from 0 to 1"),
        ({"attribute": MODEL | {"person": True}}, "`checks.attribute.person` must be a number from 0 to 1, got True"),
        ({"attribute": MODEL | {"on_fail": "drop"}}, "`checks.attribute.on_fail` must be one of reject, keep"),
        ({"attribute": MODEL | {"sexes": ["male"]}}, "`checks.attribute.sexes` must be a table"),
        ({"attribute": MODEL | {"sexes": {"male": "a man"}}}, "`checks.attribute.sexes.male` must be a list"),
        ({"attribute": MODEL | {"sexes": {"male": []}}}, "`checks.attribute.sexes.male` must not be empty"),
        ({"attribute": MODEL | {"age_groups": {"old": [["a"]]}}}, "`checks.attribute.age_groups.old` must be a non-em"),
        ({"duplicates": {"radius": 1.5}}, "`checks.duplicates.radius` must be a whole number from 0 to 16, got 1.5"),
        ({"duplicates": {"radius": 17}}, "`checks.duplicates.radius` must be a whole number from 0 to 16, got 17"),
        ({"duplicates": {"radius": 5}}, "`checks.duplicates.radius_in_cell` must be a whole number from 5 "),
    ],
)
def test_each_rule_of_the_checks_is_one_line(tmp_path, checks, message):
    assert message in refused(tmp_path, checks=checks)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("smiling", "`check` must be a table, got 'smiling'"),
        ({"show": []}, "unknown key in `check`, got 'show': did you mean `shows`?"),
        ({"shows": ["a smile"]}, "`check.shows` and `check.opposite` must be given together, got ['a smile']"),
        ({"opposite": ["no smile"]}, "`check.shows` and `check.opposite` must be given together"),
        ({"shows": "a smile", "opposite": ["none"]}, "`check.shows` must be a list, got 'a smile'"),
        ({"shows": ["a", "a"], "opposite": ["b"]}, "`check.shows` must not repeat a value"),
        ({"shows": False}, "`check.shows` must be a list, got False"),
        ({"darker_than": 2}, "`check.darker_than` must be a number from 0 to 1, got 2"),
        ({"highlights_over": "much"}, "`check.highlights_over` must be a number from 0 to 1, got 'much'"),
        ({"darker_than": 0.1, "highlights_over": 0.1}, "give `check.darker_than` or `check.highlights_over`, not both"),
        ({"threshold": -0.1}, "`check.threshold` must be a number from 0 to 1, got -0.1"),
        ({"smallest_face": 1.5}, "`check.smallest_face` must be a number from 0 to 1, got 1.5"),
        ({"face": "two"}, "`check.face` must be one of one, covered, profile, any, got 'two'"),
        ({"sharp": "no"}, "`check.sharp` must be true or false, got 'no'"),
    ],
)
def test_each_rule_of_a_features_check_is_one_line(tmp_path, check, message):
    assert message in refused(tmp_path, check=check)


def test_a_description_of_an_unknown_person_is_one_line(tmp_path):
    """Descriptions belong to the sexes and age groups of the table."""
    text = table.DEFAULT.read_text().replace('old = ["a photo of an old person"', 'ancient = ["a mummy"', 1)
    (tmp_path / "my.toml").write_text(text)
    message = said(table.load, tmp_path / "my.toml")
    assert "`checks.attribute.age_groups` must be one of child, teenager, young_adult, old_adult, old" in message


def test_a_mistake_in_a_features_check_names_the_row(tmp_path):
    (tmp_path / "my.toml").write_text(table.DEFAULT.read_text().replace('face = "profile"', 'face = "side"'))
    assert "feature row 16 (left_right): `check.face` must be one of" in said(table.load, tmp_path / "my.toml")


def test_a_table_without_checks_makes_none():
    assert Criteria.model_validate({}) == Criteria() and Shown.model_validate({}) == Shown()


def test_the_default_table_has_every_check_and_says_how_to_see_every_feature():
    assert all(vars(SPEC.checks).values()) and set(vars(SPEC.checks)) == set(KINDS)
    judged = [f.check.shows or f.check.darker_than or f.check.highlights_over for f in SPEC.features]
    assert all(judged)


@given(without=st.sets(st.sampled_from(sorted(KINDS))))
def test_what_a_recipe_holds_gives_back_the_criteria(without):
    """The table of a raw build, checks and all, is read back from its recipe as it was, whatever was left out."""
    if without & {"attribute"}:
        without |= {"face"}
    checks = SPEC.checks.without(without)
    spec = SPEC.changed(checks=checks)
    recipe = builds.recipe_of(spec, Source("hub", spec.recipe.model, spec.recipe.model, "c0ffee"))
    assert BuildRecipe.parse(str(recipe)).spec == spec


@given(names=st.sets(st.sampled_from(sorted(KINDS))))
def test_without_leaves_out_what_it_names_and_nothing_else(names):
    found = SPEC.checks.without(names)
    assert {name for name, value in vars(found).items() if value is None} == names
    assert all(vars(found)[name] == vars(SPEC.checks)[name] for name in set(KINDS) - names)


def test_without_an_unknown_check_is_refused(capsys):
    with pytest.raises(UserError, match=r"`--without` must be one of integrity, face, .*, got 'eyes'"):
        SPEC.checks.without(["eyes"])
    assert generate(["--without", "face,eyes"]) == 2
    assert capsys.readouterr().err.startswith("generate: `--without` must be one of integrity, face, ")


def test_a_check_that_another_one_needs_is_not_left_out_alone(monkeypatch, tmp_path, capsys):
    """The preview's faces are read by the model of the attribute check: both go, or none."""
    monkeypatch.chdir(tmp_path)
    assert generate(["--model", "preview", "--without", "attribute", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert "needs [checks.attribute]; leave neither out, or both" in said and said.count("\n") == 1
    assert generate(["--model", "preview", "--without", "attribute", "--without", "face", "--dry-run"]) == 0


def test_a_changed_copy_is_checked_and_the_value_itself_stays():
    """A copy with a value that breaks a rule is refused; what exists is never changed."""
    assert SPEC.recipe.changed(steps=5).steps == 5 and SPEC.recipe.steps == 20
    assert "`steps` must be a whole number from 1" in said(lambda: SPEC.recipe.changed(steps=0))
    with pytest.raises(ValueError, match="frozen"):
        SPEC.recipe.steps = 5
    assert hash(Shown(shows=("a",), opposite=("b",))) == hash(Shown(shows=["a"], opposite=["b"]))
