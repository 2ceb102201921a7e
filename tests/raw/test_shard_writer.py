"""Shards: what is committed is never lost, doubled or torn, and a damaged shard says so in one line."""

import io
import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agfd30k import CHECKS
from builder.checks.suite import Outcome
from builder.plan.plan import Plan
from builder.raw.receipts import Damaged, is_done, receipt
from builder.raw.rows import KEYS, Measured, Rules, rejection
from builder.raw.shard_writer import Locked, ShardWriter, encode
from builder.spec import table
from tests.fixtures.builds import made_by, picture_of, write_shard

PLAN = Plan(table.load(), only=["occlusion"], scale=0.05, shard_size=16)
SHARD = PLAN.shards[0]
IDS = PLAN.ids(SHARD)


def opened(raw):
    return ShardWriter(raw / "shards" / SHARD.name, Rules(PLAN.whole(SHARD), PLAN, "png", made_by(raw)))


def files(raw):
    return {
        path.relative_to(raw): path.read_bytes() for path in raw.rglob("*") if path.is_file() and path.name != ".lock"
    }


def test_a_finished_shard_holds_every_picture_asked_for_in_plan_order(tmp_path):
    write_shard(tmp_path, PLAN, SHARD)
    folder = tmp_path / "shards" / SHARD.name
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == IDS
    assert all(list(row) == KEYS and (folder / row["file_name"]).is_file() for row in rows)
    assert is_done(folder, IDS) and list(receipt(folder).asked) == IDS


def test_a_shard_is_done_only_for_what_it_was_asked(tmp_path):
    write_shard(tmp_path, PLAN, SHARD)
    assert not is_done(tmp_path / "shards" / SHARD.name, [*IDS, "occlusion-only_mask-male-00299"])


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 2000), batches=st.integers(1, 3))
def test_a_torn_end_is_cut_off_and_made_again(tmp_path_factory, cut, batches):
    """Whatever a crash leaves of the last write, the rows before it stay, and the shard ends as if nothing happened."""
    calm, torn = tmp_path_factory.mktemp("calm"), tmp_path_factory.mktemp("torn")
    write_shard(calm, PLAN, SHARD)
    write_shard(torn, PLAN, SHARD, batches=batches, finish=False)
    path = torn / "shards" / SHARD.name / "metadata.jsonl"
    whole = path.read_bytes()
    kept = whole[: max(len(whole) - cut, 0)]
    path.write_bytes(kept)
    with opened(torn) as writer:
        assert len(writer.rows) == kept.count(b"\n") + (whole[len(kept) :][:1] == b"\n")
    write_shard(torn, PLAN, SHARD)
    assert files(torn) == files(calm)


def test_zeros_at_the_end_of_a_file_are_a_torn_end(tmp_path):
    """A power cut can leave a longer file whose last block was never written."""
    write_shard(tmp_path, PLAN, SHARD, batches=2, finish=False)
    path = tmp_path / "shards" / SHARD.name / "metadata.jsonl"
    rows = path.read_bytes().count(b"\n")
    path.write_bytes(path.read_bytes() + b"\0" * 500)
    with opened(tmp_path) as writer:
        assert len(writer.rows) == rows


def test_a_measurement_that_is_no_number_was_not_measured(tmp_path):
    """A model's NaN goes into no line: the writer reads what it has written."""
    checks = Outcome().checks | {"attribute_score": float("nan"), "sharpness": float("inf"), "noise": 0.5}
    with opened(tmp_path) as writer:
        first, second = writer.pending(PLAN.asked(SHARD))[:2]
        row = writer.write_picture(first, picture_of(first.seed), None, checks)
        writer.commit([row], [rejection(second, "refused", checks=checks)])
    with opened(tmp_path) as writer:
        for line in (*writer.rows, *writer.rejected):
            measured = [line["checks"][name] for name in ("attribute_score", "sharpness", "noise")]
            assert measured == [None, None, 0.5]


def test_every_row_has_a_hash_where_duplicates_are_looked_for(tmp_path):
    """And needs none in a build without that check."""
    with opened(tmp_path) as writer:
        attempt = writer.pending(PLAN.asked(SHARD))[0]
        writer.commit([writer.write_picture(attempt, picture_of(1), None, Outcome().checks)], [])
    with opened(tmp_path):
        pass
    rules = Rules(PLAN.whole(SHARD), PLAN, "png", made_by(tmp_path), is_hashed=True)
    with pytest.raises(Damaged, match="has no hash"), ShardWriter(tmp_path / "shards" / SHARD.name, rules):
        pass


def test_what_checks_measure_is_what_rows_hold():
    """The model of the column and the schema that is released have the same keys."""
    assert list(Measured.model_fields) == list(CHECKS)


def test_a_rejected_try_is_not_made_again_but_followed_by_the_next(tmp_path):
    with opened(tmp_path) as writer:
        first = writer.pending(PLAN.asked(SHARD))[0]
        writer.commit([], [rejection(first, "refused")])
    with opened(tmp_path) as writer:
        again = writer.pending(PLAN.asked(SHARD))[0]
    assert again.sample == first.sample and again.number == 1 and again.seed != first.seed


def test_a_sample_is_given_up_after_the_recipes_attempts(tmp_path):
    most = PLAN.spec.recipe.max_attempts
    with opened(tmp_path) as writer:
        for number in range(most):
            pending = [a for a in writer.pending(PLAN.asked(SHARD)) if a.sample.id == IDS[0]]
            assert [a.number for a in pending] == [number]
            writer.commit([], [rejection(pending[0], "refused")])
        assert IDS[0] not in [a.sample.id for a in writer.pending(PLAN.asked(SHARD))]
    write_shard(tmp_path, PLAN, SHARD)
    found = receipt(tmp_path / "shards" / SHARD.name)
    assert found.unfilled == (IDS[0],) and found.rows == len(IDS) - 1 and list(found.asked) == IDS


def test_a_wider_choice_reopens_a_finished_shard_and_keeps_its_rows(tmp_path):
    narrow = Plan(PLAN.spec, only=["occlusion"], limit=20, shard_size=16)
    write_shard(tmp_path, narrow, narrow.shards[0])
    before = files(tmp_path)
    write_shard(tmp_path, PLAN, SHARD)
    after = files(tmp_path)
    assert all(after[name] == data for name, data in before.items() if name.suffix == ".png")
    assert list(receipt(tmp_path / "shards" / SHARD.name).asked) == IDS


def test_a_shard_that_another_run_writes_is_refused(tmp_path):
    with opened(tmp_path), pytest.raises(Locked, match="another process is writing here"), opened(tmp_path):
        pass


def edit(path, change):
    lines = path.read_text().splitlines()
    lines[1] = change(lines[1])
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: "nonsense", "line 2: not a row"),
        (lambda line: "[1, 2]", "line 2: not a row (input should be an object)"),
        (lambda line: line.replace('"seed": ', '"seed": 1'), "`seed` is"),
        (lambda line: line.replace("RAW photo", "photo"), "`prompt` is"),
        (
            lambda line: line.replace('"attempt": 0', '"attempt": -1'),
            "not a row (`attempt`: input should be greater",
        ),
        (lambda line: line.replace('"id": "occlusion', '"id": "age'), "does not belong to this shard"),
        (lambda line: re.sub('"id": "[^"]*"', '"id": ["x"]', line), "not a row (`id`: input should be a valid string)"),
        (
            lambda line: re.sub('"hash": [^},]*', '"hash": 5', line),
            "(`checks.hash`: input should be a valid string)",
        ),
        (lambda line: line.replace("images/", "../images/"), "`file_name` is '../images/"),
        (lambda line: line.replace("images/", "/etc/"), "`file_name` is '/etc/"),
        (lambda line: line.replace(".png", ".gone"), ".gone', the plan says"),
    ],
)
def test_a_damaged_row_ends_in_one_line_that_says_what_to_do(tmp_path, change, message):
    write_shard(tmp_path, PLAN, SHARD, batches=2, finish=False)
    edit(tmp_path / "shards" / SHARD.name / "metadata.jsonl", change)
    with pytest.raises(Damaged) as error, opened(tmp_path):
        pass
    assert message in str(error.value) and "\n" not in str(error.value)
    assert "agfd30k verify" in str(error.value) and "metadata.jsonl, line 2" in str(error.value)


def test_a_row_that_stands_twice_is_damage(tmp_path):
    write_shard(tmp_path, PLAN, SHARD, batches=2, finish=False)
    path = tmp_path / "shards" / SHARD.name / "metadata.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    with pytest.raises(Damaged, match="stands twice"), opened(tmp_path):
        pass


def test_a_picture_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    """An error while a picture is written leaves neither the picture nor a temporary file."""
    with opened(tmp_path) as writer:
        attempt = writer.pending(PLAN.asked(SHARD))[0]
        monkeypatch.setattr(
            "builder.common.files.os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(OSError, match="full"):
            writer.write_picture(attempt, picture_of(1), None, Outcome().checks)
    assert list((writer.folder / "images").iterdir()) == []


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_lossless_formats_keep_every_pixel(ending):
    image = picture_of(3, side=64)
    assert Image.open(io.BytesIO(encode(image, ending, "a model"))).convert("RGB").tobytes() == image.tobytes()


def test_imagefolder_reads_a_shard(tmp_path):
    """Ordinary tools can read a raw shard: `datasets`' ImageFolder finds every picture with its labels."""
    from datasets import load_dataset

    write_shard(tmp_path, PLAN, SHARD)
    folder = tmp_path / "shards" / SHARD.name
    found = load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(found["id"]) == sorted(IDS) and found[0]["image"].size == (16, 16)


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
def test_every_picture_says_that_it_is_machine_made(ending):
    """IPTC's source type and the model stand in the file's XMP, well-formed whatever the model's name is."""
    image = Image.open(io.BytesIO(encode(Image.new("RGB", (16, 16)), ending, 'a "model" <v1> & co')))
    packet = image.info["xmp"]
    packet = packet if isinstance(packet, bytes) else packet.encode()
    root = ElementTree.fromstring(packet)
    (description,) = root.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    source = description.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert source == "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert description.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == 'a "model" <v1> & co'
    assert ending != "png" or image.info["Software"] == 'a "model" <v1> & co'
