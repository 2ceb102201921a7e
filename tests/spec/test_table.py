"""The table: the default one equals the original's, and a broken one ends in one clear line."""

from __future__ import annotations

import copy
import tracemalloc

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import agfd30k
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.faults import SpecError, shown
from builder.spec.table import tomllib

SPEC = table.load()
ROWS = {feature.name: feature for feature in SPEC.features}
DEFAULT = tomllib.loads(table.DEFAULT.read_text(encoding="utf-8"))

# attribute, feature, pictures per sex, and the phrases (or ages) where the original gives them
REFERENCE = """
age child 300: 1 / 3
age teenager 600: 8 / 15
age young_adult 300: 25 / 35
age old_adult 300: 45 / 55
age old 600: 60 / 80 / 100
emotion smile 600: smiling / laughing
emotion angry 600: Angry / pissed-off face / yelling
occlusion only_glasses 600: glasses / sunglasses / swimming goggles / skiing goggles
occlusion only_mask 300: (masked:1.2) / antigas mask
occlusion only_makeup 300: highly make up / eyeshadow / heavy black eyeliner / joker / Halloween makeup
occlusion only_hands 300: put Hand in front of face / put Hand in front of hair
occlusion complex 300:
illumination under_water 300: under water
illumination strong_light 300: (sun behind:1.2) / strong sun shine
illumination dark 300: in the night / dark light / (very dark scene:1.2)
pose left_right 2000:
pose up 300: (looking up:1.3)
hair blond 300: blond hair
hair brown 300: brown hair
hair red 300: red hair
hair bangs 300: (Bangs:1.5)
hair straight_hair 300: straight hair
hair wavy_hair 300: wavy hair
hair bald 300:
others small_scale 2000: clothes
others mustache 300: mustache / sideburns / goatee
others hat 300:
others blurry 300:
others open_mouth 300: screaming
others close_eyes 300: sleepy / (close eyes:1.2)
others earrings 300: wearing earrings
base base 800:
"""
HANDS = {"extra fingers", "mutated hands", "poorly drawn hands", "fused fingers", "too many fingers"}


def test_rows():
    """The default table has the original's 31 features and base, in order, with its quotas, ages and phrases."""
    rows = [line.split(":", 1) for line in REFERENCE.split("\n")[1:-1]]
    assert [f"{row.attribute} {row.name} {row.male}" for row in SPEC.features] == [where for where, _ in rows]
    assert len(rows) == 31 + 1 and all(row.male == row.female for row in SPEC.features)
    for row, (_, given_there) in zip(SPEC.features, rows):
        found = row.ages if row.attribute == "age" else row.phrases["female"]
        assert given_there == "" or list(map(str, found)) == given_there.strip().split(" / ")
        assert row.attribute == "age" or min(row.ages) >= 18


def test_pictures_per_config():
    """The configs have the original's numbers of pictures, 30,000 in all."""
    counts = [sum(row.male + row.female for row in rows) for rows in SPEC.attributes.values()]
    assert counts == [4200, 2400, 3600, 1800, 4600, 4200, 7600, 1600]
    assert sum(counts) == len(Plan(SPEC)) == 30_000


def test_words_for_people():
    """Subject words and ethnicities are the original's; base has no phrase, bald one by sex."""
    words = {name: (row.subjects["male"], row.subjects["female"]) for name, row in ROWS.items()}
    assert words.pop("child") == words.pop("teenager") == (("boy",), ("girl",))
    assert words.pop("old") == (("man", "Grandpa"), ("woman", "Grandma"))
    assert set(words.values()) == {(("man",), ("woman",))}
    assert list(SPEC.ethnicities.values()) == ["African", "pale skin", "Asian", "Middle East", "Latino"]
    assert ROWS["base"].phrases == {"male": ("",), "female": ("",)}
    assert ROWS["bald"].phrases == {"male": ("bald man",), "female": ("bald woman",)}


def test_combinations():
    """`complex` has all 26 combinations of two or more of the five occlusions."""
    phrases = ROWS["complex"].phrases["male"]
    assert len(set(phrases)) == len(phrases) == 26
    assert min(phrase.count(",") for phrase in phrases) == 1
    assert "(masked:1.2), put Hand in front of face" in phrases


def test_guidance_scale():
    """Only open_mouth has a guidance scale of its own."""
    assert {name: row.guidance_scale for name, row in ROWS.items() if row.guidance_scale != 7} == {"open_mouth": 15}


def test_pieces_that_fight_the_feature():
    """What fights a feature is out of its prompts, and still in those of the others."""
    for row in SPEC.features:
        assert ("soft lighting" in row.positive) == (row.attribute != "illumination")
        assert (row.name == "small_scale") != any("big face" in piece or "close up" in piece for piece in row.positive)
        assert ("blurry" in row.negative) == (row.name != "blurry")
        assert HANDS & set(row.negative) == (set() if row.name in ("only_hands", "complex") else HANDS)


def test_loader_labels():
    """The loading script names the same classes, in the same order, as the default table."""
    assert SPEC.labels == agfd30k.LABELS


OWN = """
name = "Toys"
release = "toys-1"
recipe = { model = "preview", width = 256 }
people = { ages = [25, 35], subjects = { male = ["king"], female = ["queen"] } }
ethnicities = { elf = "Elf", dwarf = "Dwarf" }
age_groups = { young = 0, grown = 18 }
prompt = { positive = ["toy", "{age} y.o {subject}", "{ethnicity}", "{phrase}", "wood"], negative = ["Blurry, text"] }
minors = { positive = ["wearing clothes"], negative = ["nude"] }
feature = [
  { attribute = "height", name = "small", male = 3, female = 2, ages = [3], add = ["tiny"] },
  { attribute = "hat", name = "crown", male = 4, female = 0, phrases = ["crown", "tiara"], replace = { wood = "tin" } },
]
"""


def test_a_table_of_ones_own(tmp_path):
    """A user's own attributes, labels and ethnicities load and plan; there is nothing special about the default's."""
    path = tmp_path / "toys.toml"
    path.write_text(OWN, encoding="utf-8")
    spec = table.load(path)
    assert spec.labels == {
        "attribute": ["height", "hat"],
        "feature": ["small", "crown"],
        "sex": ["male", "female"],
        "ethnicity": ["elf", "dwarf"],
        "age_group": ["young", "grown"],
        "attempt": [str(number) for number in range(10)],
    }
    samples = {sample.prompt: sample for sample in map(Plan(spec).sample, range(9))}
    assert {sample.id[:-6] for sample in samples.values()} == {
        "height-small-male",
        "height-small-female",
        "hat-crown-male",
    }
    assert "toy, 3 y.o queen, Elf, wearing everyday clothes, wearing clothes, tiny, wood" in samples
    crowns = [sample for sample in samples.values() if sample.feature == "crown"]
    assert {(sample.ethnicity, sample.age_group) for sample in crowns} == {("elf", "grown"), ("dwarf", "grown")}
    assert all(sample.prompt.endswith(f", {sample.phrase}, tin") for sample in crowns)


def test_labels_that_no_file_is_called_by_may_be_any_name(tmp_path):
    """What Windows keeps for itself is no matter there."""
    path = tmp_path / "toys.toml"
    path.write_text(OWN.replace("elf =", "con =").replace("grown =", "nul ="), encoding="utf-8")
    assert table.load(path).labels["ethnicity"] == ["con", "dwarf"]


DELETE, SAME = object(), object()
SMALL = tomllib.loads(OWN)


def changed(document: dict, changes: dict) -> dict:
    """A copy of a document in which the dotted paths have the given values; row 2 is `feature.1`."""
    made = copy.deepcopy(document)
    for path, value in changes.items():
        *above, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place = made
        for key in above:
            place = place[key]
        place[last] = value
        if value is DELETE:
            del place[last]
    return made


def refusal(path, changes: dict, faults: int = 1) -> str:
    """The lines, one for each fault, with which the small table, so changed, is refused."""
    path.write_text(tomli_w.dumps(changed(SMALL, changes)), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        table.load(path)
    message = str(caught.value)
    assert all(line.startswith(f"{path}: ") for line in message.splitlines()) and len(message.splitlines()) == faults
    return message


def bad(path, value, says, got=SAME):
    return pytest.param(path, value, says, value if got is SAME else got, id=path)


WHOLE, SCALE, TEXT = (
    "must be a whole number from {} to ",
    "must be a number from 1 to 100",
    "must be a non-empty string",
)
LINE = "must be one line of printable text"
UNPRINTABLE = ["\n", "\r", "\x85", "\u2028", "\x00", "\x1b", "\u202e", "\u200b"]
AGES, BRACKETS, PIECE = (
    "a whole number from 0 to 120",
    "must have balanced brackets",
    "must name a piece of the template",
)
MIXED = "must not mix alphabets within a word"
NAMES = ["only-mask", "a/b", "Hat", "all", "train", "_hat", "1hat", "", "h" * 65, "two\nlines", 7]
WINDOWS = "must not be a name that Windows keeps for its devices"
BROKEN = [
    bad("colour", 1, "unknown key in the table (known: age_groups, ", "colour"),
    bad("people", DELETE, "the table needs the key `people`", sorted(SMALL.keys() - {"people"})),
    bad("name", " ", f"`name` {TEXT}"),
    bad("release", 1, f"`release` {TEXT}"),
    *(bad("name", f"Fruit{sign}---", f"`name` {LINE}") for sign in UNPRINTABLE),
    bad("release", "fruit\n1", f"`release` {LINE}"),
    bad("recipe.model", "some/\nmodel", f"`recipe.model` {LINE}"),
    bad("recipe.safety_checker_revision", "main\x1b[2J", f"`recipe.safety_checker_revision` {LINE}"),
    bad("recipe", "preview", "`recipe` must be a table"),
    bad("recipe.sampler", "euler", "unknown key in [recipe] (known: file, guidance_scale, ", "sampler"),
    bad("recipe", {"steps": 9}, "[recipe] needs the key `model`", ["steps"]),
    bad("recipe.model", "", f"`recipe.model` {TEXT}"),
    bad("recipe.steps", 0, f"`recipe.steps` {WHOLE.format(1)}"),
    bad("recipe.max_attempts", True, f"`recipe.max_attempts` {WHOLE.format(1)}"),
    bad("recipe.guidance_scale", 0.5, f"`recipe.guidance_scale` {SCALE}"),
    bad("recipe.width", 500, "`recipe.width` must be a multiple of 8 from 8 to "),
    bad("recipe.height", 513, "`recipe.height` must be a multiple of 8 from 8 to "),
    bad("recipe.width", 0, "`recipe.width` must be a multiple of 8 from 8 to "),
    bad("prompt.style", "x", "unknown key in [prompt] (known: negative, positive)", "style"),
    bad("prompt.positive.0", "[toy", f"`prompt.positive` {BRACKETS}"),
    *(
        bad("prompt.positive.0", f"a{sign}b", "`prompt.positive` must be one line each, without control characters")
        for sign in UNPRINTABLE[:6]
    ),
    bad("feature.1.phrases", ["a", "b\r---"], "`phrases` must be one line each", "b\r---"),
    bad("prompt.negative", "ugly", "`prompt.negative` must be a list"),
    bad("minors.negative.0", "(a]", f"`minors.negative` {BRACKETS}"),
    bad("minors.negative", DELETE, "words such as girl, needs [minors] `negative`", None),
    bad("ethnicities.High Elf", "elf", "`ethnicities` must be lower-case letters, digits and _", "High Elf"),
    bad("ethnicities.elf", "", f"`ethnicities.elf` {TEXT}"),
    bad("ethnicities", {}, "there must be at least one entry in [ethnicities]"),
    bad("age_groups", {"young": 1, "old": 9}, "[age_groups] must rise from 0"),
    bad("age_groups", {"a": 0, "b": 9, "c": 9}, "[age_groups] must rise from 0"),
    bad("age_groups.grown", 1.5, f"`age_groups.grown` {WHOLE.format(0)}"),
    bad("feature", [], "there must be at least one [[feature]]"),
    bad("feature", {"a": 1}, "features must be written as [[feature]]"),
    bad("feature.1.colour", 1, "unknown key in the row (known: add, ages, attribute, ", "colour"),
    bad("feature.0.male", DELETE, "the row needs the key `male`", ["add", "ages", "attribute", "female", "name"]),
    bad("feature.1.male", -1, f"`male` {WHOLE.format(0)}"),
    bad("feature.1.female", 2.0, f"`female` {WHOLE.format(0)}"),
    bad("feature.1.male", True, f"`male` {WHOLE.format(0)}"),
    bad("feature.1.male", 10**19, "`male` must"),  # more than Python can index: planning would overflow
    bad("feature.1.male", 0, "`male` and `female` must not both be 0"),
    bad("feature.1.name", "small", "`name` must be unique (row 1 has it too)"),
    *(bad("feature.1.name", name, "`name` must ") for name in NAMES),
    *(bad("feature.1.attribute", name, "`attribute` must ") for name in NAMES),
    *(
        bad(f"feature.1.{key}", name, WINDOWS)
        for key in ("attribute", "name")
        for name in ("con", "nul", "com1", "lpt9")
    ),
    *(bad("feature.1.name", sex, "`name` must not be that of a sex") for sex in ("male", "female")),
    bad("feature.1.phrases", [], "`phrases` must not be empty"),
    bad("feature.1.phrases", [""], f"`phrases` {TEXT}", ""),
    bad("feature.1.phrases", ["crown", " "], f"`phrases` {TEXT}", " "),
    bad("feature.1.phrases", "crown", "`phrases` must be a list"),
    bad("feature.1.phrases", ["a", "a"], "`phrases` must not repeat a value"),
    bad("feature.1.phrases", ["(crown:1.2"], f"`phrases` {BRACKETS}", "(crown:1.2"),
    bad("feature.1.phrases", ["([crown)]"], f"`phrases` {BRACKETS}", "([crown)]"),
    bad("feature.1.phrases", ["a (blurry:1.2)"], "must not stand in the row's own negative", "a (blurry:1.2)"),
    bad("feature.1.negative_add", ["TIARA hat"], "must not stand in the row's own negative", "tiara"),
    bad("feature.1.phrases", [str(n) for n in range(2501)], "must be at most 10,000", 10_004),
    bad(
        "feature.1.combine",
        {"at_least": 1, "of": ["a"]},
        "give `phrases` or `combine`, not both",
        sorted([*SMALL["feature"][1], "combine"]),
    ),
    bad("feature.0.combine", {"at_least": 3, "of": ["a", "b"]}, "must not exceed the length of `of`", 3),
    bad("feature.0.combine", {"at_least": 0, "of": ["a"]}, f"`combine.at_least` {WHOLE.format(1)}", 0),
    bad("feature.0.combine", {"at_least": 1, "of": ["a"], "x": 1}, "in `combine` (known: at_least, of)", "x"),
    bad("feature.0.combine", {"at_least": 1}, "`combine` needs the key `of`", ["at_least"]),
    bad("feature.1.add", ["gem)"], f"`add` {BRACKETS}", "gem)"),
    bad("feature.1.add", ["{hat}"], "may use only the fields age, subject, ethnicity, phrase", "{hat}"),
    bad("feature.1.negative_add", ["{age}"], "may use no fields", "{age}"),
    bad("feature.0.drop", ["{ethnicity}"], "the positive prompt must keep the field {ethnicity}", ...),
    bad("feature.1.drop", ["Fog"], PIECE, "Fog"),
    bad("feature.1.replace", {"x": "y"}, PIECE, "x"),
    bad("feature.1.negative_drop", ["text"], PIECE, "text"),
    bad("feature.1.ages", [], "`ages` must not be empty"),
    bad("feature.1.ages", [25, 121], AGES, 121),
    bad("feature.1.ages", [-1], AGES, -1),
    bad("feature.1.ages", [True], AGES, True),
    bad("feature.1.guidance_scale", 0.9, f"`guidance_scale` {SCALE}"),
    bad("feature.1.guidance_scale", 101, f"`guidance_scale` {SCALE}"),
    bad("feature.1.subjects", {"male": ["king"]}, "`subjects` needs the key `female`"),
    bad("feature.1.phrases", ["a crown", "a t\u0456ara"], f"`phrases` {MIXED} ('t\u0456ara' does)", "a t\u0456ara"),
    bad("ethnicities.elf", "\u0395lf", f"`ethnicities.elf` {MIXED} ('\u03b5lf' does)"),
    bad("prompt.negative.0", "bl\u03c5rry", f"`prompt.negative` {MIXED}"),
    bad("minors.positive.0", "dr\u0435ssed", f"`minors.positive` {MIXED}"),
    bad("recipe.guidance_scale", 1.9, "`recipe.guidance_scale` must be at least 2 where a prompt may show a minor"),
    bad(
        "feature.0.guidance_scale", 1.5, "(small): `guidance_scale` must be at least 2 where a prompt may show a minor"
    ),
    bad("recipe.file", "unet/model.safetensors", "`recipe.file` must be the name of a .safetensors file at the top"),
]


@pytest.mark.parametrize("path, value, says, got", BROKEN)
def test_broken_rule(tmp_path, path, value, says, got):
    """A broken rule ends in one line with the file, the row's number where it is a row's, the rule and the value."""
    message = refusal(tmp_path / "toys.toml", {path: value})
    row = f": feature row {int(path[8]) + 1}" if path.startswith("feature.") else ": "
    assert row in message and says in message
    assert ", got [" in message if got is ... else message.endswith(f", got {shown(got)}")


def test_a_low_guidance_scale_is_for_adults_alone(tmp_path):
    """A row of adults may have it, from the recipe too, as long as every row of minors has a higher one of its own."""
    path = tmp_path / "toys.toml"
    for changes in (
        {"feature.1.guidance_scale": 1},
        {"recipe.guidance_scale": 1.0, "feature.0.guidance_scale": 2},
        {"recipe.guidance_scale": 1, "feature.0.ages": [18]},
    ):
        path.write_text(tomli_w.dumps(changed(SMALL, changes)), encoding="utf-8")
        assert len(Plan(table.load(path))) == 9


def test_too_many_combinations(tmp_path):
    """A `combine` with too many combinations is refused before they, 2 to the power of its length, are made."""
    tracemalloc.start()
    try:
        message = refusal(tmp_path / "toys.toml", {"feature.0.combine": {"at_least": 1, "of": list("abcdefghijklmn")}})
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert message.endswith("feature row 1 (small): `combine` must give at most 10,000 phrases, got 16383")


@pytest.mark.parametrize(
    "path, value",
    [
        ("feature.1.phrases", ["a {age} crown"]),
        ("feature.1.subjects", ["{x}"]),
        ("feature.1.add", ["{age hat"]),
        ("ethnicities.elf", "{age}"),
        ("minors.positive", ["{subject} in clothes"]),
        ("minors.negative", ["{age}"]),
    ],
)
def test_brace_that_stays(tmp_path, path, value):
    """A brace where no field is filled in is refused: no prompt of a table that loads has one."""
    refusal(tmp_path / "toys.toml", {path: value})


def test_words_of_a_child_need_minors(tmp_path):
    """A table whose prompts speak of a child needs [minors] too, though its ages are adult."""
    changes = {"minors": DELETE, "feature.0.ages": [30], "feature.0.subjects": ["girl"]}
    positive, negative = refusal(tmp_path / "toys.toml", changes, faults=2).splitlines()
    assert "words such as girl, needs [minors] `positive`, got None" in positive and "`negative`" in negative


@pytest.mark.parametrize(
    "content, says",
    [
        pytest.param(b"name = Toys", "not a TOML file: Invalid value (at line 1, column 8)", id="text"),
        pytest.param(b"\xff\xfe", "not a TOML file: 'utf-8' codec can't decode byte 0xff", id="bytes"),
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"name = " + b"[" * 5000, "not a TOML file: ", id="deep"),
        pytest.param(b"name = " + b"9" * 5000, "not a TOML file: ", id="long_number"),
    ],
)
def test_not_a_table(tmp_path, content, says):
    """A file that is missing, no TOML or no table ends in one line with its path."""
    path = tmp_path / "toys.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        table.load(path)
    assert str(caught.value).startswith(f"{path}: {says}") and "\n" not in str(caught.value)


def test_an_empty_file_is_told_every_key_that_a_table_needs(tmp_path):
    path = tmp_path / "toys.toml"
    path.write_text("")
    with pytest.raises(SpecError) as caught:
        table.load(path)
    needed = ["name", "release", "recipe", "prompt", "people", "ethnicities", "age_groups", "feature"]
    assert str(caught.value).splitlines() == [f"{path}: the table needs the key `{key}`, got []" for key in needed]


NINE = {
    "colour": "blue",
    "recipe.stepz": 30,
    "recipe.width": "wide",
    "people.ages.1": 200,
    "prompt.positive.4": "(wood",
    "checks": {"face": {"smallest": 2}},
    "feature.0.male": -3,
    "feature.1.drop": ["toyz"],
    "feature.1.name": "small",
}
NINE_LINES = [
    "unknown key in the table (known: age_groups, checks, ethnicities, feature, license, minors, name, people, prompt, "
    "recipe, release), got 'colour'",
    "unknown key in [recipe], got 'stepz': did you mean `steps`?",
    "`recipe.width` must be a multiple of 8 from 8 to 4,096, got 'wide'",
    "`people.ages` must be a whole number from 0 to 120, got 200",
    "`prompt.positive` must have balanced brackets, got '(wood'",
    "`checks.face.smallest` must be a number from 0.02 to 1, got 2",
    "feature row 1 (small): `male` must be a whole number from 0 to 1,000,000,000, got -3",
    "feature row 2 (small): `drop` must name a piece of the template exactly, got 'toyz': did you mean `toy`?",
    "feature row 2 (small): `name` must be unique (row 1 has it too), got 'small'",
]


def test_all_faults_are_told_at_once(tmp_path):
    """Nine faults in one table are nine lines, whether they are of one value or of several together."""
    path = tmp_path / "toys.toml"
    changes = NINE | {"feature.1.replace": DELETE}
    told = refusal(path, changes, faults=9).replace(f"{path}: ", "")
    assert sorted(told.splitlines()) == sorted(NINE_LINES)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"feature.1.phrasez": ["x"], "feature.1.phrases": DELETE},
            "in the row, got 'phrasez': did you mean `phrases`",
        ),
        ({"feature.0.mael": 3, "feature.0.male": DELETE}, "in the row, got 'mael': did you mean `male`?"),
        ({"feature.0.drop": ["Wood"]}, "got 'Wood': did you mean `wood`?"),
        ({"feature.0.negative_drop": ["Blurry text"]}, "got 'Blurry text': did you mean `Blurry, text`?"),
        ({"feature.0.check": {"face": "profil"}}, "got 'profil': did you mean `profile`?"),
        ({"feature.0.subjects": {"man": ["x"], "female": ["y"]}}, "must be one of male, female, got 'man'"),
        (
            {"checks": {"attribute": {"model": "a", "age_groups": {"yung": ["x"]}}}},
            "`checks.attribute.age_groups` must be one of young, grown, got 'yung': did you mean `young`?",
        ),
    ],
)
def test_a_name_that_is_nearly_right_is_named(tmp_path, changes, says):
    """A key, a piece, a label or a word that is misspelt is one line with the right one."""
    assert says in refusal(tmp_path / "toys.toml", changes)


def test_prompts_are_judged_beside_other_faults(tmp_path):
    """A fault elsewhere does not hide that a row's prompts break a rule, as far as its words are known."""
    changes = {"feature.0.phrases": ["naked"], "feature.0.male": -1, "recipe.steps": 0, "people.ages": [200]}
    lines = refusal(tmp_path / "toys.toml", {**changes, "feature.1.phrases": ["blurry"]}, faults=5)
    assert "row 1 (small): a prompt that may show a minor must not speak of nudity, got 'naked'" in lines
    assert "row 2 (crown): a phrase must not stand in the row's own negative prompt" in lines


def test_a_long_value_is_cut(tmp_path):
    """A line shows at most 100 characters of a value."""
    message = refusal(tmp_path / "toys.toml", {"recipe.width": "w" * 10_000})
    assert message.endswith(f", got {('w' * 10_000)!r:.100} …")


def paths(place, above=()):
    """Every dotted path into a document."""
    for key, value in place.items() if isinstance(place, dict) else enumerate(place):
        if "." not in str(key):
            yield ".".join(map(str, (*above, key)))
            yield from paths(value, (*above, key)) if isinstance(value, (dict, list)) else ()


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
odd = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | words
    | st.sampled_from(["(", "{age}", "{x}", "a\nb", 0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(paths(DEFAULT))), st.just(DELETE) | odd, min_size=1, max_size=2))
def test_any_mistake(tmp_path, changes):
    """Whatever stands in place of a value, the table loads or ends in lines that begin with its path."""
    path = tmp_path / "odd.toml"
    try:
        path.write_text(tomli_w.dumps(changed(DEFAULT, changes)), encoding="utf-8")
    except (LookupError, TypeError):  # the first change took away what the second is about
        return
    try:
        table.load(path)
    except SpecError as error:
        assert all(line.startswith(f"{path}: ") and len(line) < 500 for line in str(error).splitlines())
