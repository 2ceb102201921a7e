"""What a release says of its pictures is read from any version of it; what is none is told."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import builder
from builder.common.errors import UserError
from builder.evaluation.truth import Detector, Truth
from tests.fixtures import evaluations


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make(tmp_path_factory.mktemp("truth") / "release")


@pytest.fixture
def copy(release, tmp_path):
    return shutil.copytree(release, tmp_path / "copy")


def rewrite(folder, change):
    for path in folder.glob("metadata/*.parquet"):
        pq.write_table(change(pq.read_table(path)), path)


def test_every_row_is_read_with_the_names_of_its_classes(release):
    truth = Truth.of(release)
    rows = [row for path in sorted(release.glob("metadata/*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert sorted(truth.ids) == sorted(row["id"] for row in rows) and len(truth) == len(rows)
    for row in truth.table.to_pylist():
        attribute, feature, sex, _ = row["id"].split("-")
        assert (row["attribute"], row["feature"], row["sex"]) == (attribute, feature, sex)
    assert truth.height == 16 and truth.detector == Detector("yunet")
    boxes = truth.numbers("face_x", "face_y", "face_width", "face_height")
    assert {tuple(box) for box in boxes[~np.isnan(boxes[:, 0])]} == {evaluations.BOX}


def test_the_digest_is_of_the_pictures_and_not_of_the_files(release, copy):
    def turned(table):
        return table.take(pa.array([*range(len(table))][::-1]))

    rewrite(copy, turned)
    assert Truth.of(copy).digest == Truth.of(release).digest
    rewrite(copy, lambda table: table.set_column(table.column_names.index("sha256"), "sha256", table["id"]))
    assert Truth.of(copy).digest != Truth.of(release).digest


def test_a_release_of_before_has_its_checks_in_one_column(release, copy):
    """The face's box is among them; points and angles it has not."""

    def older(table):
        boxes = [
            None if x is None else [x, *rest]
            for x, *rest in zip(*(table[f"face_{name}"].to_pylist() for name in ("x", "y", "width", "height")))
        ]
        checks = [
            {"face_box": box, "passed": ["face"], "failed": ["noise"], "hash": "0", "luminance": light}
            for box, light in zip(boxes, table["luminance"].to_pylist())
        ]
        kept = ["id", "attribute", "feature", "sex", "ethnicity", "age_group", "age", "verified", "sha256", "phrase"]
        return table.select(kept).append_column("checks", pa.array(checks))

    rewrite(copy, older)
    one, other = Truth.of(copy), Truth.of(release)
    for name in ("face_x", "face_height", "luminance", "feature", "verified"):
        assert one.table[name].to_pylist() == other.table[name].to_pylist()
    assert one.table["yaw"].null_count == len(one) and one.digest == other.digest


def test_only_verified_pictures_of_a_split_are_chosen(release):
    truth = Truth.of(release)
    chosen = truth.chosen("validation")
    assert {*chosen.table["split"].to_pylist()} == {"validation"} and {*chosen.table["verified"].to_pylist()} == {True}
    assert len(truth.chosen(verified=False)) == len(truth) > len(truth.chosen()) > len(chosen) > 0


def test_where_nothing_is_verified_it_says_how_to_go_on(copy):
    rewrite(
        copy,
        lambda table: table.set_column(
            table.column_names.index("verified"), "verified", pa.nulls(len(table), pa.bool_())
        ),
    )
    with pytest.raises(UserError, match="no picture is verified, so nothing sure can be said; --all takes them all"):
        Truth.of(copy).chosen()
    (copy / "metadata/test-00000-of-00001.parquet").unlink()
    with pytest.raises(UserError, match="has no pictures in test"):
        Truth.of(copy).chosen("test")


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns(["feature"]),
        lambda table: table.replace_schema_metadata({}),
        lambda table: table.set_column(table.column_names.index("sex"), "sex", pa.array([99] * len(table))),
        lambda table: table.set_column(table.column_names.index("id"), "id", pa.nulls(len(table), pa.string())),
    ],
)
def test_damaged_labels_are_told_with_their_file(copy, change):
    rewrite(copy, change)
    with pytest.raises(UserError, match=r"metadata/train-\S+: is not as the builder writes it"):
        Truth.of(copy)


def test_without_its_assets_a_release_does_not_say_what_filtered_it(copy):
    (copy / "assets/checks.json").unlink()
    (copy / "recipe.toml").write_text("[")
    truth = Truth.of(copy)
    assert (truth.detector, truth.height) == (None, None)


def test_a_release_that_older_code_made_is_evaluated(tmp_path):
    """Its pictures too."""
    with zipfile.ZipFile(Path(__file__).parents[1] / "fixtures" / "older.zip") as archive:
        archive.extractall(tmp_path)
    report = builder.evaluate(evaluations.brightness, tmp_path / "fruit", verified=False, by="feature")
    assert [cell.key["feature"] for cell in report.document.cells] == ["banana", "tea"]
    assert report.document.overall.trials == 40 and 0 < report.document.overall.failures < 40
    assert all(cell.against.key == {} for cell in report.document.cells)  # it has no base
