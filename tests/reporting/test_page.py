"""The report: everything a release holds is counted, a fair share is shown, nothing gets in, nothing is overwritten."""

import base64
import hashlib
import io
import json
import shutil
from collections import Counter
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import agfd30k
from builder import report
from builder.common.errors import UserError
from builder.dataset.statistics import CHECKS_FILE, SCORES, Statistics
from builder.reporting import data as reporting_data
from builder.reporting import page as reporting_page
from builder.reporting import thumbnails
from builder.reporting.data import AXES, Labels
from tests.fixtures import builds, reports

LABELS = "metadata/train-00000-of-00001.parquet"
PICTURES = "data/fruit/train-00000-of-00001.parquet"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return reports.make(tmp_path_factory.mktemp("report") / "hub")


@pytest.fixture(scope="session")
def page(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "page.html"
    reporting_page.make(made, out)
    return reports.Html(out)


@pytest.fixture
def out(made, tmp_path):
    """A release to break."""
    return shutil.copytree(made, tmp_path / "fruit")


def rows_of(folder, pattern="data/*/*.parquet"):
    """Rows with the names of their labels, and their split."""
    for path in sorted(folder.glob(pattern)):
        names = reporting_data._names(path)
        for row in pq.read_table(path).to_pylist():
            yield (
                row | {key: names[key][row[key]] for key in reporting_data.CLASSES} | {"split": path.name.split("-")[0]}
            )


def run(capsys, *arguments):
    """Exit status and stderr of the command."""
    status = report.main([*map(str, arguments)])
    return status, capsys.readouterr().err


# What is counted.


def test_every_row_is_counted_under_its_labels(made, page):
    axes = [axis["values"] for axis in page.data["axes"]]
    counted = {
        tuple(names[code] for names, code in zip(axes, codes)): n
        for *codes, n in zip(*page.data["cells"], page.data["counts"])
    }
    verified = {True: "yes", False: "no", None: "not judged"}
    expected = Counter(
        tuple(verified[row[axis]] if axis == "verified" else row[axis] for axis in AXES) for row in rows_of(made)
    )
    assert [axis["name"] for axis in page.data["axes"]] == list(AXES)
    assert counted == expected
    assert len({key[AXES.index("verified")] for key in counted}) == 3


def test_the_table_of_features_says_what_the_checks_found(made, page):
    """Asked, made, verified, not judged, given up, tries, rejected and why, feature by feature, and all together."""
    tally = json.loads((made / "assets" / CHECKS_FILE).read_text())["features"]
    rows = {row[0]: row[1:] for row in page.rows[1:]}
    for row in tally:
        counts = [str(row[key]) for key in ("asked", "made", "verified", "not_judged", "unfilled")]
        told = rows[f"{row['feature']} {row['attribute']}"]
        why = f"{row['rejected']} feature not seen" if row["rejected"] else "–"
        assert told == [*counts, f"{row['tries']:.2f}", str(row["rejected"]), why]
    assert rows["all"][:2] == [str(sum(row[key] for row in tally)) for key in ("asked", "made")]
    assert any(row["rejected"] for row in tally)


def test_reasons_stand_with_the_most_frequent_first(out, tmp_path):
    change_tally(out, lambda tally: tally["features"][0].update(reasons={"no face": 2, "noise": 1_300}))
    reporting_page.make(out, tmp_path / "page.html")
    assert reports.Html(tmp_path / "page.html").rows[1][-1] == "1,300 noise, 2 no face"


def test_rejected_tries_are_counted_by_reason_and_feature(out, tmp_path):
    """The most frequent reason first, over all features; and how many pictures were made beside them."""
    reasons = [{"noise": 1_300, "no face": 2}, {"no face": 2_000}]
    change_tally(out, lambda tally: [row.update(reasons=why) for row, why in zip(tally["features"], reasons)])
    reporting_page.make(out, tmp_path / "page.html")
    rejected = reports.Html(tmp_path / "page.html").data["rejected"]
    assert rejected["reasons"] == ["no face", "noise"]
    assert rejected["rows"] == [["fruit", "banana", 20, [2, 1_300]], ["drink", "tea", 20, [2_000, 0]]]


def test_scores_fall_into_the_bins_that_the_census_puts_rejected_ones_in(made):
    labels = Labels.of(made)
    for feature in ("banana", "tea"):
        statistics = Statistics()
        scores = [r["attribute_score"] for r in rows_of(made) if r["feature"] == feature]
        for score in scores:
            statistics._reject({"id": f"x-{feature}-x-0", "reason": "", "checks": {"attribute_score": score}})
        assert labels.histogram(feature) == statistics.scores[feature]
    assert labels.histogram("pear") is None


def test_a_score_of_one_is_in_the_last_bin_and_none_is_in_no_bin(made):
    labels = Labels.of(made)
    labels.scores[:] = np.nan
    assert labels.histogram("tea") is None
    labels.scores[np.flatnonzero(labels.column("feature") == labels.names["feature"].index("tea"))[:2]] = 1.0
    assert labels.histogram("tea") == [0] * (SCORES - 1) + [2]


def test_a_bar_stands_for_every_bin_that_holds_something(made, page):
    labels = Labels.of(made)
    tally = json.loads((made / "assets" / CHECKS_FILE).read_text())["features"]
    kept = [n for row in tally for n in labels.histogram(row["feature"])]
    gone = [n for row in tally for n in row["rejected_scores"] or []]
    assert sum(tag == "rect" for tag, _ in page.elements) == sum(n > 0 for n in kept + gone)
    assert any(gone)


def test_without_checks_the_page_says_what_it_lacks(tmp_path):
    folder = reports.make(tmp_path / "x", checks=(), write=builds.write, rejection=builds.rejection)
    out = tmp_path / "page.html"
    reporting_page.make(folder, out)
    text = reports.Html(out).text
    assert "No picture has a score" in text
    assert "No picture has a perceptual hash" in text


@pytest.mark.parametrize("precision", [0.9, None])
def test_precision_is_shown_where_it_is_known(out, tmp_path, precision):
    row = {"feature": "tea", "judged": 1200, "precision": precision, "precision_interval": [0.85, 0.94], "recall": None}
    (out / "assets" / "calibration.json").write_text(json.dumps({"features": [row]}))
    reporting_page.make(out, tmp_path / "page.html")
    found = reports.Html(tmp_path / "page.html")
    assert ("precision of the check" in found.text) == (precision is not None)
    assert ("0.85 to 0.94, 1,200 judged" in found.text) == (precision is not None)


# What is shown.


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(0, 500))
def test_shares_are_fair(sizes, total):
    """Everything is given away that can be, none gets more than it has room for, and no other gets two more than it."""
    given = thumbnails.shares(sizes, total)
    assert sum(given) == min(total, sum(sizes))
    assert all(0 <= share <= size for share, size in zip(given, sizes))
    assert all(share == size or share >= max(given) - 1 for share, size in zip(given, sizes))


@pytest.mark.parametrize("most", [0, 1, 7, 12, 1000])
def test_the_first_of_every_feature_and_sex_are_shown(made, most):
    """Those that the plan begins with, and in its order; more show what fewer did."""
    labels = Labels.of(made)
    ids = [labels.ids[place].as_py() for place in thumbnails.choose(labels, most)]
    cells = Counter(id.rpartition("-")[0] for id in ids)
    assert len(ids) == min(most, len(labels.ids))
    if most in (7, 12):
        assert max(cells.values()) - min(cells.values()) <= 1
    for cell, count in cells.items():
        own = sorted(id for id in labels.ids.to_pylist() if id.rpartition("-")[0] == cell)
        assert [id for id in ids if id.rpartition("-")[0] == cell] == own[:count]
    assert [id.split("-")[1] for id in ids] == sorted(
        (id.split("-")[1] for id in ids), key=labels.names["feature"].index
    )


def test_a_thumbnail_is_its_picture_and_what_is_told_of_it_its_row(made, page):
    rows = {row["id"]: row for row in rows_of(made)}
    data = page.data
    assert sorted(data["id"]) == sorted(rows)
    for n, id in enumerate(data["id"]):
        row = rows[id]
        small = Image.open(io.BytesIO(base64.b64decode(page.images[n].removeprefix("data:image/webp;base64,"))))
        assert small.format == "WEBP"
        difference = reports.pixels(small) - reports.pixels(Image.open(io.BytesIO(row["image"]["bytes"])))
        assert np.abs(difference).mean() < 25
        codes = {axis["name"]: axis["values"][data["codes"][place][n]] for place, axis in enumerate(data["axes"])}
        assert {key: codes[key] for key in reporting_data.CLASSES} == {key: row[key] for key in reporting_data.CLASSES}
        told = [data["phrases"][data["phrase"][n]], data["age"][n], data["attempt"][n], data["seed"][n]]
        assert told == [row["phrase"] or "", row["age"], row["attempt"], row["seed"]]
        assert "".join(data["words"][word] for word in data["prompt"][n]) == row["prompt"]
        passed, failed, unknown = data["outcomes"][data["outcome"][n]]
        assert [passed, failed] == [(row[name] or "").split() for name in ("checks_passed", "checks_failed")]
        assert sorted(passed + failed + unknown) == ["attribute", "face", "integrity"]
        measured = dict(zip(data["measures"], data["measured"][n]))
        assert measured["attribute_score"] == thumbnails._rounded(row["attribute_score"])
        assert (measured["luminance"], measured["faces"]) == (0.5, None)


@pytest.mark.parametrize(("size", "fits"), [((200, 100), (64, 32)), ((40, 40), (40, 40))])
def test_a_thumbnail_fits_into_its_side(size, fits):
    buffer = io.BytesIO()
    Image.new("RGBA", size).save(buffer, "PNG")
    uri, real = thumbnails._thumbnail({"id": "x", "image": {"bytes": buffer.getvalue()}}, 64)
    assert real == size
    assert Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).size == fits


def test_numbers_that_json_does_not_know_are_none():
    assert [thumbnails._rounded(x) for x in (float("nan"), float("inf"), None, 0.123456)] == [None] * 3 + [0.123]


def test_the_same_release_gives_the_same_page(made, tmp_path):
    for name in ("one.html", "two.html"):
        reporting_page.make(made, tmp_path / name, thumbnails=9)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


# Near pairs.


def near(hashes, hashed=True, twin_of=None):
    """The nearest pairs of rows with these hashes, called by their places."""
    ids = [str(place) for place in range(len(hashes))]
    twins = pa.array(twin_of or [None] * len(hashes), pa.string())
    known, none = np.array(hashes, dtype=np.uint64), np.zeros((len(hashes), 0))
    is_hashed = np.broadcast_to(hashed, len(hashes))
    return Labels({}, none, pa.array(ids, pa.string()), twins, none, known, is_hashed).near()


@given(st.lists(st.builds(lambda n, m: n << 60 | m, st.integers(0, 15), st.integers(0, 15)), max_size=30))
def test_the_nearest_pairs_are_those_that_comparing_all_with_all_finds(hashes):
    distinct = sorted(set(hashes))
    all_with_all = sorted((a ^ b).bit_count() for a, b in combinations(distinct, 2))
    expected = [0] * (len(hashes) - len(distinct)) + [n for n in all_with_all if n <= reporting_data.RADIUS]
    found = near(hashes)
    assert [bits for _, _, bits in found] == expected[: reporting_data.MOST_PAIRS]
    assert all((hashes[i] ^ hashes[j]).bit_count() == bits and i != j for i, j, bits in found)


def test_many_pictures_that_are_all_the_same_are_not_compared_all_with_all():
    assert near([7] * 40) == [(0, place, 0) for place in range(1, 31)]


def test_a_row_without_a_hash_is_near_to_none():
    assert near([0, 0, 0], [True, False, False]) == []


def test_a_twin_is_no_near_pair_of_what_it_is_the_twin_of():
    assert near([0, 0, 1]) == [(0, 1, 0), (0, 2, 1)]
    assert near([0, 0, 1], twin_of=[None, "0", None]) == [(0, 2, 1)]
    assert near([0, 3, 1], twin_of=[None, "0", "0"]) == [(2, 1, 1)]


def test_twins_stand_beside_what_they_are_twins_of(tmp_path):
    """One pair of each feature that has some."""
    out = tmp_path / "page.html"
    reporting_page.make(reports.make(tmp_path / "x", twins=True), out)
    found = reports.Html(out)
    shown = [attributes["alt"] for tag, attributes in found.elements if tag == "img" and "loading" in attributes][:4]
    assert [id.split("-")[:2] for id in shown] == [
        ["fruit", "banana"],
        ["twins", "banana"],
        ["drink", "tea"],
        ["twins", "tea"],
    ]
    assert all(one.split("-")[1:] == two.split("-")[1:] for one, two in zip(shown[::2], shown[1::2]))
    assert "40 pictures are twins" in found.text


def test_none_near_is_said(made, page):
    """Pictures of random patches are far from each other."""
    assert Labels.of(made).near() == []
    assert "none within 8 bits" in page.text


def test_pairs_stand_side_by_side_with_their_distance(tmp_path):
    def write(writer, attempt, outcome=None):
        image = builds.picture_of(attempt.sample.index)  # the same for both features and sexes
        outcome = reports.judged(attempt, image)
        return writer.write_picture(attempt, image, outcome.verified, outcome.checks)

    folder, out = reports.make(tmp_path / "x", write=write), tmp_path / "page.html"
    reporting_page.make(folder, out, thumbnails=0)
    found = reports.Html(out)
    pairs = [attributes["alt"] for tag, attributes in found.elements if tag == "img" and "loading" in attributes]
    assert len(pairs) == 2 * len(Labels.of(folder).near()) == 56
    for one, other in zip(pairs[::2], pairs[1::2]):
        assert one != other and one[-5:] == other[-5:]
    assert "0 bits" in found.text and found.images == []


# A preview says so.


def test_the_real_thing_is_no_preview(page):
    assert "preview" not in page.text.lower()


@pytest.mark.parametrize("sign", ["mark", "tag"])
def test_a_preview_says_so_at_the_top(out, tmp_path, sign):
    """Its mark or its tag alone is enough, and so is the mark of a card whose YAML is broken."""
    card = (out / "README.md").read_text()
    card = (
        card.replace("model hub, ", "model preview, ")
        if sign == "mark"
        else card.replace("tags:\n", "tags:\n- preview\n", 1)
    )
    for text in (card, card.replace("---\n", "---\n: [", 1) if sign == "mark" else card):
        (out / "README.md").write_text(text)
        reporting_page.make(out, tmp_path / "page.html")
        text = reports.Html(tmp_path / "page.html").text
        assert "say nothing about the dataset" in text
        assert text.index("These are preview pictures") < text.index("Arrow keys")


# Nothing gets in, and nothing is loaded.


def soundly_escaped(path):
    """The page has the elements and scripts that it should have, whatever the texts in it say."""
    found = reports.Html(path)
    assert list(found.scripts) == ["data", "images", None]
    assert sum(tag == "script" for tag, _ in found.elements) == 3
    assert "<" not in found.scripts["data"] + found.scripts["images"]
    assert found.scripts[None] == (reporting_page.HERE / "report.js").read_text()
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    return found


def test_texts_of_a_table_stay_texts(tmp_path):
    folder, out = reports.make(tmp_path / "x", toml=reports.VILE_TABLE), tmp_path / "page.html"
    reporting_page.make(folder, out)
    found = soundly_escaped(out)
    assert set(reports.VILE) - {reports.VILE[3]} <= set(found.data["phrases"])
    assert reports.VILE[0] in found.text


def test_labels_and_reasons_of_a_strange_release_stay_texts(out, tmp_path):
    vile = reports.VILE[0]
    for path in out.glob("metadata/*.parquet"):
        table = pq.read_table(path)
        known = json.loads(table.schema.metadata[b"huggingface"])
        for name in reporting_data.CLASSES:
            known["info"]["features"][name]["names"][0] = vile
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(known)}), path)
    change_tally(out, lambda tally: tally["features"][0].update(feature=vile, attribute=vile, reasons={vile: 3}))
    reporting_page.make(out, tmp_path / "page.html")
    found = soundly_escaped(tmp_path / "page.html")
    assert [vile in axis["values"] for axis in found.data["axes"]] == [True] * 5 + [False] * 2


def test_the_page_loads_nothing_and_runs_its_own_script_alone(page):
    """Its policy forbids everything but data: pictures and the script and style with these digests."""
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    script, style = ((reporting_page.HERE / f"report.{kind}").read_bytes() for kind in ("js", "css"))
    digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (script, style)]
    allowed = f"script-src 'sha256-{digests[0]}'; style-src 'sha256-{digests[1]}'"
    assert policy == f"default-src 'none'; img-src data:; {allowed}"
    for text in (script, style):
        assert b"://" not in text and b"url(" not in text and b"@import" not in text and b"</" not in text
    assert b"innerHTML" not in script


def test_everything_to_choose_or_press_has_a_name(page):
    """A select stands in its label, a button has text, a picture has words, and the page a language."""
    assert ("html", {"lang": "en"}) in page.elements
    tags = [tag for tag, _ in page.elements]
    assert all(tags[n - 1] == "label" for n, tag in enumerate(tags) if tag == "select")
    assert tags.count("select") == len(AXES)
    assert all("alt" in attributes for tag, attributes in page.elements if tag == "img")
    assert all("aria-label" in attributes for tag, attributes in page.elements if tag == "svg")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        assert attributes.get("aria-labelledby", ids[0]) in ids
        assert attributes.get("href", "data:,") == "data:," or attributes["href"][1:] in ids


# Where it is written.


def test_it_lies_beside_the_release_and_is_replaced(out, capsys):
    for _ in range(2):
        assert report.main([str(out), "--thumbnails", "3"]) == 0
    page = out.parent / "fruit-report.html"
    assert capsys.readouterr().out.splitlines()[0] == (
        f"{page}: 3 of 40 pictures, {page.stat().st_size / 1e6:.1f} MB; open it in a browser"
    )
    assert page.read_text().splitlines()[0] == reporting_page.MARK
    assert sorted(path.name for path in out.parent.iterdir()) == ["fruit", "fruit-report.html"]


@pytest.mark.parametrize(
    "content", [b"", b"<!doctype html>\n<p>mine", b"\xff\x00", b"x" + reporting_page.MARK.encode()]
)
def test_a_file_that_is_no_report_is_left_alone(out, tmp_path, capsys, content):
    mine = tmp_path / "fruit-report.html"
    mine.write_bytes(content)
    status, error = run(capsys, out)
    assert (status, mine.read_bytes()) == (2, content)
    assert error == f"report: {mine}: is not a report, so it is not replaced; move it away or use another --out\n"


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("fruit/page.html", "lies in the release, which holds only what is published; use another --out"),
        ("fruit", "lies in the release, which holds only what is published; use another --out"),
        ("no/page.html", "not a folder; make it first, or use another --out"),
        ("folder", "not a file; use another --out"),
    ],
)
def test_a_place_that_cannot_be_written_to(out, tmp_path, capsys, place, says):
    (tmp_path / "folder").mkdir()
    status, error = run(capsys, out, "--out", tmp_path / place)
    assert (status, len(error.splitlines())) == (2, 1)
    assert error.endswith(f": {says}\n")
    assert not list(tmp_path.rglob("*.tmp")) and not (out / "page.html").exists()


# Garbage.


def change_tally(out, change):
    path = out / "assets" / CHECKS_FILE
    tally = json.loads(path.read_text())
    change(tally)
    path.write_text(json.dumps(tally))


def change_column(path, name, values):
    table = pq.read_table(path)
    place = table.schema.get_field_index(name)
    column = pa.array(values(table[name].to_pylist()), table.schema.field(name).type)
    pq.write_table(table.set_column(place, table.schema.field(name), column), path)


FAULTS = {
    "no labels": lambda out: shutil.rmtree(out / "metadata") or (out / "metadata").mkdir(),
    "labels are no Parquet": lambda out: (out / LABELS).write_bytes(b"PAR1 no PAR1"),
    "labels of another tool": lambda out: pq.write_table(pa.table({"id": ["x"]}), out / LABELS),
    "labels without scores": lambda out: pq.write_table(
        pq.read_table(out / LABELS).drop(["attribute_score"]), out / LABELS
    ),
    "a label without a name": lambda out: change_column(out / LABELS, "feature", lambda found: [99, *found[1:]]),
    "no label": lambda out: change_column(out / LABELS, "sex", lambda found: [None, *found[1:]]),
    "a hash that is none": lambda out: change_column(
        out / LABELS, "perceptual_hash", lambda found: ["f" * 17, *found[1:]]
    ),
    "no tally": lambda out: (out / "assets" / CHECKS_FILE).unlink(),
    "a tally that is no JSON": lambda out: (out / "assets" / CHECKS_FILE).write_text("{"),
    "a tally that is no UTF-8": lambda out: (out / "assets" / CHECKS_FILE).write_bytes(b"\xff"),
    "a tally of another shape": lambda out: (out / "assets" / CHECKS_FILE).write_text("[]"),
    "a count that is none": lambda out: change_tally(out, lambda found: found["features"][0].update(made="many")),
    "too few bins": lambda out: change_tally(out, lambda found: found["features"][0].update(rejected_scores=[1])),
    "no table": lambda out: (out / "recipe.toml").unlink(),
    "a table that is none": lambda out: (out / "recipe.toml").write_text("[recipe"),
    "calibration of another shape": lambda out: (out / "assets/calibration.json").write_text('{"features": [1]}'),
    "an interval of three": lambda out: (out / "assets/calibration.json").write_text(
        '{"features": [{"feature": "tea", "judged": 1, "precision": 1, "precision_interval": [0, 1, 2]}]}'
    ),
    "a card that is not ours": lambda out: (out / "README.md").write_text("# Hello"),
    "a card that is no UTF-8": lambda out: (out / "README.md").write_bytes(b"\xff\xfe"),
    "pictures are no Parquet": lambda out: (out / PICTURES).write_bytes(b""),
    "a picture that is none": lambda out: change_column(
        out / PICTURES, "image", lambda found: [{"bytes": b"GIF89a", "path": "x"}, *found[1:]]
    ),
    "no picture": lambda out: change_column(out / PICTURES, "image", lambda found: [None, *found[1:]]),
    "a row that is lost": lambda out: pq.write_table(pq.read_table(out / PICTURES).slice(1), out / PICTURES),
    "a file that is lost": lambda out: (out / PICTURES).unlink(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_release_that_is_not_sound_ends_in_one_line(out, tmp_path, capsys, fault):
    """It names the place and says what to do, and nothing is written."""
    FAULTS[fault](out)
    status, error = run(capsys, out)
    assert status == 2
    assert error.startswith(f"report: {out}") and error.count("\n") == 1
    assert error.endswith("make the release again with `agfd30k release`\n")
    assert [path.name for path in tmp_path.iterdir()] == ["fruit"]


@pytest.mark.parametrize("name", ["nowhere", "empty", "a file", "raw"])
def test_what_is_no_release_folder(tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file").write_text("")
    if name == "raw":
        builds.write_raw(tmp_path / "raw", limit=4)
    status, error = run(capsys, tmp_path / name)
    says = "not a release folder; make one with `agfd30k release`, or name another"
    assert (status, error) == (2, f"report: {tmp_path / name}: {says}\n")


@pytest.mark.parametrize("flag", ["--thumbnails", "--side"])
@pytest.mark.parametrize("value", ["-1", "many", "1.5", "", "99999999"])
def test_numbers_out_of_range(out, capsys, flag, value):
    status, error = run(capsys, out, f"{flag}={value}")
    least, most = {"--thumbnails": ("0", "20,000"), "--side": ("32", "512")}[flag]
    assert (status, error) == (2, f"report: {flag}: must be a whole number from {least} to {most}, got {value!r}\n")


def test_a_release_without_rows_is_a_page_all_the_same(out, tmp_path):
    for path in [*out.glob("metadata/*.parquet"), *out.glob("data/*/*.parquet")]:
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    reporting_page.make(out, tmp_path / "page.html")
    assert reports.Html(tmp_path / "page.html").data["counts"] == []


def test_make_raises_what_the_command_prints(tmp_path):
    with pytest.raises(UserError, match="not a release folder"):
        reporting_page.make(tmp_path, tmp_path / "page.html")
    assert not agfd30k.is_release(tmp_path)
