"""What is said of the verifier is what was counted: shares, intervals, proposals, and never more than that."""

import io
import json
import shutil
from collections import Counter
from hashlib import sha256

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from agfd30k import read_rows, shards
from builder import calibrate
from builder.checks.loading import versions
from builder.checks.suite import Outcome
from builder.common.errors import UserError
from builder.dataset import folder as dataset_folder
from builder.dataset import packing
from builder.judging import calibration
from builder.judging import pictures as judging_pictures
from builder.judging.metrics import At, Judged, Proposal, Sample, kappa
from builder.judging.population import Population
from builder.judging.questions import EACH, OTHERS_PER_OWN
from builder.linting import files
from builder.models import source
from builder.raw import calibration_file
from builder.raw.build import RawBuild
from tests.fixtures import builds
from tests.fixtures.builds import own_table, write_raw

CHECKS = """
[checks.attribute]
model = "{model}"
threshold = 0.5
on_fail = "keep"

[people]"""


def score_of(sample):
    """A planted score: hundredths, by place in the row of its feature and sex; men from 0.00, women from 0.30."""
    return (sample.index * 5 + (30 if sample.sex == "female" else 0)) / 100


def outcome_of(sample):
    found = Outcome()
    score = score_of(sample)
    found.checks.update(attribute_score=score)
    found.checks["passed" if score >= 0.5 else "failed"].append("attribute")
    return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A tiny classifier with random weights that says yes and no to both features about equally often."""
    folder = tmp_path_factory.mktemp("model") / "reader"
    torch.manual_seed(0)
    config = ResNetConfig(num_channels=3, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic")
    config.id2label, config.label2id = {0: "banana", 1: "tea"}, {"banana": 0, "tea": 1}
    model, processor = ResNetForImageClassification(config).eval(), ViTImageProcessor(size={"height": 16, "width": 16})
    pictures = processor([builds.picture_of(seed) for seed in range(50)], return_tensors="pt").pixel_values
    with torch.no_grad():
        model.classifier[1].bias -= model(pictures).logits.median(dim=0).values
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, reader):
    """A raw build with planted scores, checked by the tiny classifier as far as its recipe says, and its release."""
    path = tmp_path_factory.mktemp("calibrated")
    table, _ = own_table(path)
    toml = table.read_text().replace("[people]", CHECKS.format(model=reader))
    table.write_text(toml)
    spec = builds.table.load(table)
    checks = versions(spec, {"attribute": source.resolve_reader(str(reader), "main")})
    write = builds.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds, "write", lambda writer, attempt: write(writer, attempt, outcome_of(attempt.sample)))
        write_raw(path / "raw", spec, toml, checks=checks)
    packing.pack(RawBuild.open(path / "raw"), path / "out")
    return path


def rows(folder):
    return [row for shard in shards(folder / "raw") for row in read_rows(shard)]


def judgements(path, answers):
    """A file of lines with the three keys alone, or with the judge, or with the digest of the picture as well."""
    keys = ("id", "feature", "answer", "judge", "sha256")
    path.write_text("".join(json.dumps(dict(zip(keys, answer))) + "\n" for answer in answers))
    return path


def truly(row):
    """What people say: men show it from 0.20 on, women from 0.60 on."""
    return row["checks"]["attribute_score"] >= (0.2 if row["sex"] == "male" else 0.6)


def own_answers(folder, feature="banana"):
    return [(row["id"], feature, truly(row)) for row in rows(folder) if row["feature"] == feature]


def run(folder, path, *options, capsys, kind="raw", status=0):
    """Run the command; returns what it printed, and what it wrote if it did."""
    out = path.with_name("calibration.json")
    arguments = [str(folder / kind), str(path), "--out", str(out), *options]
    assert calibrate.main(arguments) == status
    written = capsys.readouterr()
    return (written.out, json.loads(out.read_bytes())) if status == 0 else written.err


# Whose pictures.


def test_judgements_of_other_pictures_are_left_out_and_counted(folder, tmp_path, capsys):
    """An answer with a digest is of that picture alone: another build's count for nothing, whatever they say."""
    digests = {row["id"]: row["sha256"] for row in rows(folder)}
    own = [(id, feature, shown, "", digests[id]) for id, feature, shown in own_answers(folder)]
    others = [(id, feature, not shown, "", "0" * 64) for id, feature, shown in own_answers(folder)]
    others += [("x", "beer", True, "", "1" * 64)]
    path = tmp_path / "j.jsonl"
    judgements(path, own)
    text, found = run(folder, path, capsys=capsys)
    assert "left out" not in text and found["judgements"] == 20
    judgements(path, [*others, *own])
    text, mixed = run(folder, path, capsys=capsys)
    assert "21 judgements are left out: they are of other pictures than those there are now" in text
    assert mixed | {"sha256": 0} == found | {"sha256": 0}
    judgements(path, others)
    said = run(folder, path, capsys=capsys, status=2)
    assert "none of its judgements is of a picture that" in said and said.count("\n") == 1


# Planted truth.


@pytest.mark.parametrize("kind", ["raw", "out"])
def test_what_was_asked_for_is_known_and_what_needs_the_others_is_not(folder, tmp_path, capsys, kind):
    """Bananas: 12 men with scores 0.00 to 0.55, shown from 0.20 on; 8 women with 0.30 to 0.65, shown from 0.60 on.

    All 20 were judged, so that precision has no error; of the 20 others none, so that nothing is said of recall.
    """
    path = judgements(tmp_path / "j.jsonl", own_answers(folder))
    text, found = run(folder, path, "--all", kind=kind, capsys=capsys)
    assert (found["judgements"], found["judges"], found["target"], found["disputed"]) == (20, 1, 0.05, 0)
    assert found["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert found["recipe"] == json.loads((folder / "raw/recipe.json").read_text())["fingerprint"]
    (row,) = found["features"]
    assert row == {
        "feature": "banana",
        "judged": 20,
        "yes": 10,
        "own": {"pictures": 20, "judged": 20, "yes": 10},
        "others": {"pictures": 20, "judged": 0, "yes": 0},
        "not_scored": 0,
        "not_scored_rate": None,
        "not_scored_rate_interval": [0, 1],
        "threshold": 0.5,
        "precision": 4 / 6,  # at 0.5: men 0.50, 0.55 and women 0.60, 0.65 of these and women 0.50, 0.55
        "precision_interval": [4 / 6, 4 / 6],
        "recall": None,
        "recall_interval": [0, 1],
        "false_positive_rate": None,
        "false_positive_rate_interval": [0, 1],
        "verified_judged": 6,
        "verified_precision": 4 / 6,
        "verified_precision_interval": [4 / 6, 4 / 6],
        "proposed_threshold": None,
        "proposed_is_sure": False,
        "proposal_needs": 15,
    }
    assert (found["version"], found["pictures"]) == (calibration_file.VERSION, 40)
    assert "banana: 20 judged, 10 yes\n  20 of 20 asked for it, 10 yes\n  0 of 20 others, 0 yes" in text
    assert "0.50 *     0.67 (0.67 to 0.67)    -                      -" in text
    assert "no threshold can be proposed: pictures that were asked for it and others must both be judged" in text
    assert [group["rate"] for group in found["groups"]] == [None] * 4


def test_a_judged_picture_counts_for_as_many_as_it_stands_for(folder, tmp_path, capsys, reader):
    """Through files and the command: all 20 bananas and 5 of the 20 others, each of which stands for 4."""
    own = [(id, feature, truly(row)) for row in rows(folder) for id, feature in [(row["id"], row["feature"])]]
    others = [row["id"] for row in rows(folder) if row["feature"] == "tea"][:5]
    said = dict(zip(others, (True, True, False, False, False)))
    path = judgements(
        tmp_path / "j.jsonl",
        [answer for answer in own if answer[1] == "banana"] + [(id, "banana", shown) for id, shown in said.items()],
    )
    text, found = run(folder, path, "--reader", str(reader), capsys=capsys)
    scores = {id: score for id, _, score in read_by(reader, folder, "tea", 0)}
    weights = [(4, said[id], scores[id] >= 0.5) for id in others]
    weights += [(1, truly(row), row["verified"]) for row in rows(folder) if row["feature"] == "banana"]
    (row,) = found["features"]
    for name, what in (("recall", True), ("false_positive_rate", False)):
        share = sum(w for w, shown, passed in weights if shown == what and passed)
        assert row[name] == pytest.approx(share / sum(w for w, shown, _ in weights if shown == what))
        low, high = row[f"{name}_interval"]
        assert low < row[name] < high
    assert (row["own"]["judged"], row["others"]["judged"], row["others"]["pictures"]) == (20, 5, 20)
    assert "Estimates for the 40 pictures of this build" in text


def test_another_feature_is_read_from_the_picture(folder, tmp_path, capsys, reader):
    """By the very reader of the build, named by --reader where it is a local one; precision stays that of its own."""
    others = [(row["id"], "tea", row["sex"] == "male") for row in rows(folder) if row["feature"] == "banana"]
    path = judgements(tmp_path / "j.jsonl", others + own_answers(folder, "tea"))
    _, found = run(folder, path, "--reader", str(reader), capsys=capsys)
    _, again = run(folder, path, "--reader", str(reader), kind="out", capsys=capsys)
    (row,) = found["features"]
    assert (row["judged"], row["not_scored"]) == (40, 0)
    assert row["yes"] == 12 + sum(shown for _, _, shown in own_answers(folder, "tea"))
    own = [row for row in rows(folder) if row["feature"] == "tea" and row["checks"]["attribute_score"] >= 0.5]
    assert row["precision"] == sum(map(truly, own)) / len(own)
    assert found == again
    women = [seen for _, sex, seen in read_by(reader, folder) if sex == "female"]
    own = [row["checks"]["attribute_score"] for row in rows(folder) if row["feature"] == "tea" and not truly(row)]
    assert row["false_positive_rate"] == sum(score >= 0.5 for score in women + own) / len(women + own)
    assert 0 < sum(score >= 0.5 for score in women) < len(women) == 8


def read_by(reader, folder, feature="banana", label=1):
    """The id, sex and score for tea of every picture of bananas, without anything of the builder's."""
    model, processor = ResNetForImageClassification.from_pretrained(reader), ViTImageProcessor.from_pretrained(reader)
    pictures = judging_pictures.load(folder / "raw")
    for entry in pictures.entries():
        if entry.feature == feature:
            image = Image.open(io.BytesIO(pictures.picture(entry))).convert("RGB")
            with torch.no_grad():
                seen = model(processor(image, return_tensors="pt").pixel_values).logits.sigmoid()
            yield entry.id, entry.sex, float(seen[0, label])


@pytest.mark.parametrize("options", [(), ("--reader", "nowhere")])
def test_a_local_reader_must_be_pointed_at(folder, tmp_path, capsys, options):
    """The build knows its name alone; nobody is asked for it elsewhere."""
    path = judgements(tmp_path / "j.jsonl", [(id, "tea", shown) for id, _, shown in own_answers(folder)])
    said = run(folder, path, *options, capsys=capsys, status=2)
    where = "the build's own model reader is a local one: --reader FOLDER says where"
    assert where in said and said.count("\n") == 1


def test_a_reader_that_has_changed_is_refused(folder, tmp_path, capsys, reader):
    """Scores of two models are not put into one table."""
    changed = tmp_path / "reader"
    changed.mkdir()
    for path in reader.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "config.json").write_text((changed / "config.json").read_text() + "\n")
    (id, *_), *_ = own_answers(folder)
    path = judgements(tmp_path / "j.jsonl", [(id, "tea", False)])
    said = run(folder, path, "--reader", str(changed), capsys=capsys, status=2)
    assert "the build was checked with reader at sha256:" in said and said.count("\n") == 1


# Several judges.


def test_most_judges_decide_and_a_tie_decides_nothing(folder, tmp_path, capsys):
    ids = [row["id"] for row in rows(folder) if row["feature"] == "banana"][:2]
    said = [(ids[0], "yes", "a"), (ids[0], "no", "b"), (ids[0], "yes", "c"), (ids[1], "yes", "a"), (ids[1], "no", "b")]
    path = judgements(tmp_path / "j.jsonl", [(id, "banana", answer, who) for id, answer, who in said])
    text, found = run(folder, path, capsys=capsys)
    assert (found["judgements"], found["judges"], found["disputed"]) == (5, 3, 1)
    assert (found["features"][0]["judged"], found["features"][0]["yes"]) == (1, 1)
    assert "judges 'a' and 'b' answered 2 questions both: Cohen's kappa 0.00" in text
    assert "'a'" not in json.dumps(found) and [pair["both"] for pair in found["agreement"]] == [2, 1, 1]


def test_kappa_is_cohens():
    """Fleiss' textbook case: 20 yes and 15 no together, 5 and 10 apart, 0.4; chance alone is not agreement."""
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    one, other = ({n: pair[side] for n, pair in enumerate(pairs)} for side in (0, 1))
    both, value = kappa(one, other)
    assert both == 50 and value == pytest.approx(0.4)
    assert kappa({1: True}, {1: True}) == (1, None)
    assert kappa({1: True}, {2: True}) == (0, None)


# Shares and proposals.

SCORES = st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 1)), st.booleans(), st.booleans()), max_size=40)


def sample_of(scores, own=600, others=29_400):
    return Sample(tuple(Judged("tea", shown, score, own) for score, shown, own in scores), own, others)


@given(SCORES, st.floats(0, 1))
def test_intervals_contain_the_share_and_all_is_counted_once(scores, threshold):
    at = At.of(sample_of(scores), threshold)
    for share in (at.precision, at.recall, at.false_positives):
        low, high = share.interval
        assert 0 <= low <= high <= 1
        assert share.value is None or low <= share.value <= high
    scored = [one for one in scores if one[0] is not None]
    assert at.recall.total + at.false_positives.total == len(scored)
    assert at.recall.hits + at.false_positives.hits == sum(score >= threshold for score, _, _ in scored)


MANY = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40)


@given(MANY, MANY, st.sampled_from([0.05, 0.2, 0.5]))
def test_a_proposal_is_the_smallest_hundredth_that_surely_keeps_the_target(own, others, target):
    """Or, if none does for sure, the smallest that is estimated to."""
    sample = sample_of([(*one, True) for one in own] + [(*one, False) for one in others], own=50, others=100)
    found = Proposal.of(sample, target)
    absent = sum(not shown for _, shown in others)
    if not own or absent < found.needed:
        assert found.threshold is None and not found.sure
        return
    shares = {step / 100: At.of(sample, step / 100).false_positives for step in range(101)}
    kept = [limit for limit, share in shares.items() if share.value <= target]
    sure = [limit for limit in kept if shares[limit].interval[1] <= target]
    assert (found.threshold, found.sure) == ((sure or kept or [None])[0], bool(sure))


@pytest.mark.parametrize(("absent", "threshold"), [(62, 0.31), (61, None)])
def test_no_threshold_is_proposed_from_too_few_to_be_sure(absent, threshold):
    """None of 62 others bounds their share below 5%, none of 61 does not; how many are needed is said."""
    sample = sample_of([(0.9, True, True)] * 50 + [(0.3, False, False)] * absent)
    found = Proposal.of(sample, 0.05)
    assert (found.threshold, found.sure, found.needed) == (threshold, threshold is not None, 62)
    if threshold is None:
        says = "no threshold can be proposed: 62 others that do not show it must be judged, 61 are"
        assert calibration._proposed(found, sample, 0.05) == says


def test_the_default_number_of_questions_can_reach_the_default_target():
    """Even where a third of the others shows the feature, if the verifier passes none of the rest."""
    shown = OTHERS_PER_OWN * EACH // 3
    others = [(0.9, True, False)] * shown + [(0.1, False, False)] * (OTHERS_PER_OWN * EACH - shown)
    found = Proposal.of(sample_of([(0.9, True, True)] * EACH + others), 0.05)
    assert found.sure and found.threshold == 0.11


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([(0.4, True, True)], "pictures that were asked for it and others must both be judged"),
        ([(None, True, True)] + [(None, False, False)] * 62, "the verifier has scored none of them"),
        ([(0.4, True, True)] + [(1.0, False, False)] * 62, "more than 5% pass even the highest"),
    ],
)
def test_where_nothing_can_be_proposed_it_says_why(scores, says):
    sample = sample_of(scores)
    said = calibration._proposed(Proposal.of(sample, 0.05), sample, 0.05)
    assert said == f"no threshold can be proposed: {says}"


# What is printed.


def planted(features=32):
    """A calibration of as many features as the shipped table has, each judged by the default number of questions."""
    names = [f"a_long_feature_name_{n}" for n in range(features)]
    kinds = [(0.9, True, True)] * 45 + [(0.6, False, True)] * 5 + [(0.1, False, False)] * 100
    judged = {name: [Judged(name, shown, score, own) for score, shown, own in kinds] for name in names}
    population = Population(Counter({(name, "", "", True): 900 for name in names}))
    sources = {"sha256": "", "recipe": ""}
    return calibration.Calibration(judged, dict.fromkeys(names, 0.5), population, 0.05, {}, 0, 0, True, sources)


def test_the_summary_is_a_line_for_each_feature_and_what_to_do(folder):
    """It fits a screen, and says once more which features are worst and what comes next."""
    lines = list(planted().summary())
    features = [line for line in lines if line.startswith("a_long_feature_name")]
    assert len(features) == 32 and len(lines) < 45 and max(map(len, lines)) <= 120
    assert features[0].split()[1:3] == ["150", "0.90"] and features[0].endswith("0.50 -> 0.11")
    assert len({line.index("0.50 ->") for line in features}) == 1
    text = "\n".join(lines)
    assert "least precise: a_long_feature_name_0 0.90, a_long" in text and "most false positives: a_long" in text
    assert "the `check.threshold` behind -> surely lets at most 5% of what is not shown pass (32 features)" in text
    assert "Estimates for the 28,800 pictures of this build" in text


def test_all_says_more_than_the_summary(folder, tmp_path, capsys):
    path = judgements(tmp_path / "j.jsonl", own_answers(folder))
    short, long = (run(folder, path, *options, capsys=capsys)[0] for options in ((), ("--all",)))
    assert "threshold  precision" not in short and "--all prints more" in short
    assert "threshold  precision" in long and "0.90       " in long
    assert "next: `agfd30k judge`: asked for and others must both be judged of banana" in short


# What a user can put right.


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["7"], "line 1: not a JSON object"),
        (["{}"], """line 1: `answer` must be "yes", "no" or "undone", got None"""),
        (['{"id": 3, "feature": "tea", "answer": "yes"}'], "line 1: `id` must be text, got 3"),
        (['{"id": "ID", "feature": "tea", "answer": "maybe"}'], "line 1: `answer` must be"),
        (['{"id": "ID", "feature": "tea", "answer": ["yes"]}'], "line 1: `answer` must be"),
        (['{"id": "nobody", "feature": "tea", "answer": true}'], "line 1: there is no picture 'nobody' in"),
        (['{"id": "ID", "feature": "coffee", "answer": true}'], "line 1: the table has no feature 'coffee'"),
        (
            ['{"id": "ID", "feature": "banana", "answer": true}', '{"id": "ID", "feature": "banana", "answer": "no"}'],
            "line 2: ID is said to be the contrary in line 1",
        ),
    ],
)
def test_a_line_that_is_no_judgement_is_named(folder, tmp_path, capsys, lines, says):
    """One line with its number, exit status 2, and nothing is written."""
    (id, *_), *_ = own_answers(folder)
    path = tmp_path / "j.jsonl"
    path.write_text("".join(line.replace("ID", id) + "\n" for line in lines))
    said = run(folder, path, capsys=capsys, status=2)
    assert said.startswith("calibrate: ") and said.count("\n") == 1 and not (tmp_path / "calibration.json").exists()
    assert says.replace("ID", id) in said


def test_the_same_answer_twice_and_a_torn_end_do_no_harm(folder, tmp_path, capsys):
    answers = own_answers(folder)
    path = judgements(tmp_path / "j.jsonl", [*answers, *answers[:3], (answers[0][0], "banana", "undone")])
    with open(path, "a") as file:
        file.write('{"id": "half')
    assert run(folder, path, capsys=capsys)[1]["features"][0]["judged"] == len(answers) - 1


def test_an_empty_file_and_a_target_out_of_range(folder, tmp_path, capsys):
    (tmp_path / "j.jsonl").touch()
    assert "no judgement in it" in run(folder, tmp_path / "j.jsonl", capsys=capsys, status=2)
    said = run(folder, tmp_path / "j.jsonl", "--target", "2", capsys=capsys, status=2)
    assert said.startswith("calibrate: --target: must be a number from 0 to 1, got '2'")
    assert "No such file" in run(folder, tmp_path / "none.jsonl", capsys=capsys, status=2)


# Where it goes.


def test_a_calibration_of_an_older_version_is_one_line_and_can_be_made_again(folder, tmp_path, capsys):
    """Its shares were those of the sample: the card shows none of them, and the same command replaces it."""
    path = judgements(tmp_path / "j.jsonl", own_answers(folder))
    found = run(folder, path, capsys=capsys)[1]
    old = {key: value for key, value in found.items() if key not in ("version", "pictures")}
    (tmp_path / calibration_file.NAME).write_text(json.dumps(old))
    with pytest.raises(UserError, match="made by another version; run `agfd30k calibrate` again, or remove it"):
        calibration_file.load(tmp_path, found["recipe"])
    assert run(folder, path, capsys=capsys)[1] == found
    assert calibration_file.load(tmp_path, found["recipe"]).content == found


def test_a_release_keeps_its_calibration_beside_it(folder):
    """Nothing is written into a release; a raw build takes it in."""
    assert calibrate._out(folder / "out") == folder / "out-calibration.json"
    assert calibrate._out(folder / "raw") == folder / "raw" / calibration_file.NAME


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("j.jsonl", "j.jsonl: these are the judgements; give another --out"),
        ("out/calibration.json", "lies in the release"),
        ("out/assets/new.json", "lies in the release"),
        ("raw/recipe.json", "recipe.json: there already, and not a calibration"),
        ("notes", "notes: there already, and not a calibration"),
        (".", "there already, and not a calibration"),
    ],
)
def test_nothing_else_is_overwritten(folder, tmp_path, monkeypatch, capsys, out, says):
    """Told before anything is computed."""
    for kind in ("raw", "out"):
        shutil.copytree(folder / kind, tmp_path / kind)
    monkeypatch.setattr(calibration, "calibrate", None)
    (tmp_path / "notes").write_text("[]")
    judgements(tmp_path / "j.jsonl", own_answers(folder))
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert calibrate.main(["raw", "j.jsonl", "--out", out]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_calibration_takes_the_place_of_an_older_one(folder, tmp_path, capsys):
    path = judgements(tmp_path / "j.jsonl", own_answers(folder))
    found = [run(folder, path, "--target", target, capsys=capsys)[1] for target in ("0.05", "0.1")]
    assert [one["target"] for one in found] == [0.05, 0.1]


@pytest.mark.parametrize(
    "change",
    [*({key: None} for key in sorted(calibration_file.CONTENT)), {"judges": "2"}, {"pictures": None}, {"features": 7}],
)
def test_a_calibration_that_the_card_could_not_show_is_one_line(folder, tmp_path, capsys, change):
    """Also where there is no feature in it that could lack a key; None stands for a key that is not there."""
    path = judgements(tmp_path / "j.jsonl", own_answers(folder))
    found = {**run(folder, path, capsys=capsys)[1], "features": []}
    kept = tmp_path / calibration_file.NAME
    kept.write_text(json.dumps(found))
    assert calibration_file.load(tmp_path, found["recipe"]).content == found
    kept.write_text(json.dumps({key: value for key, value in {**found, **change}.items() if value is not None}))
    with pytest.raises(UserError, match="damaged, or of another build"):
        calibration_file.load(tmp_path, found["recipe"])


def test_a_new_calibration_is_a_new_release_and_the_card_shows_it(folder, tmp_path):
    """Once: the same one is the release that is already there, and no one again is another one."""
    out, kept = tmp_path / "out", folder / "raw" / calibration_file.NAME
    assert [packing.pack(RawBuild.open(folder / "raw"), out)[1] for _ in range(2)] == [True, False]
    assert "were not compared with people's judgement" in (out / "README.md").read_text()
    path = judgements(tmp_path / "j.jsonl", own_answers(folder))
    assert calibrate.main([str(folder / "raw"), str(path)]) == 0
    try:
        assert [packing.pack(RawBuild.open(folder / "raw"), out)[1] for _ in range(2)] == [True, False]
        assert (out / "assets" / calibration_file.NAME).read_bytes() == kept.read_bytes()
        assert list(files.names(dataset_folder.Release(out))) == []
        text = (out / "README.md").read_text()
        assert "1 person has given 20 judgements" in text
        assert "The figures are estimates for all 40 pictures of this build" in text
        assert "| banana | 20 | 6 | 0.67 | 0.67 to 0.67 | - | - | - | - |" in text
        kept.write_text("{}")
        with pytest.raises(UserError, match=r"calibration.json: damaged, or of another build"):
            packing.pack(RawBuild.open(folder / "raw"), out)
    finally:
        kept.unlink()
    assert packing.pack(RawBuild.open(folder / "raw"), out)[1]
    assert not (out / "assets" / calibration_file.NAME).exists()
