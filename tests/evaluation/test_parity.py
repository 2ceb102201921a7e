"""Parity packs: real and generated pictures in files that tell nothing of their kind; whole or not at all."""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms

import builder
from builder.common.errors import UserError
from builder.evaluation import parity, parity_chain, parity_pairs
from builder.evaluation.parity import Settings, make
from builder.evaluation.parity_pairs import Encoded, paired
from builder.evaluation.parity_sources import Generated, Real
from builder.models.boxes import Box
from builder.models.face_detectors import YuNet
from builder.models.source import resolve_detector
from builder.parity import main
from tests.fixtures.hub import until
from tests.fixtures.parity import (
    Auc,
    auc,
    clouds,
    file_features,
    pack_features,
    segments,
    validated,
    write_photographs,
    write_release,
)
from tests.fixtures.photos import portrait

SIZE = 32
SMALL = parity_chain.needed(SIZE)
ANY = Settings(size=SIZE, within=1.0)
SLOW = """
import sys, time
from builder.evaluation import parity
place = parity._place
def slow(*arguments):
    {}
parity._place = slow
from builder.parity import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A release and a folder of photographs that are somewhat rougher."""
    place, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(1)
    return write_release(place / "agfd30k", 400, rng), write_photographs(place / "photographs", 400, rng)


@pytest.fixture(scope="module")
def pack(sources, tmp_path_factory):
    return make(*sources, tmp_path_factory.mktemp("pack") / "pack", Settings(size=SIZE))


@pytest.fixture
def few(tmp_path):
    """A release of ten pictures and a folder of as many photographs."""
    rng = np.random.default_rng(2)
    return write_release(tmp_path / "agfd30k", 10, rng), write_photographs(tmp_path / "photographs", 10, rng)


@pytest.fixture(scope="module")
def detector():
    model = resolve_detector("yunet", "")
    return YuNet(Path(model.location, model.file))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def content(place):
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def manifest(place):
    return [json.loads(line) for line in (place / "manifest.jsonl").read_text().splitlines()]


def picture(rng, mode="RGB", side=SMALL):
    return clouds(rng, side, side).convert(mode)


# What a file tells.


def test_files_tell_real_from_generated_before_and_not_in_a_pack(sources, pack):
    """By bytes, dimensions, tables, metadata, names and times; the area is one that chance gives as well.

    `tests/experiments/parity.py --pack` does so with enough pictures for an interval within 0.50 ± 0.02.
    """
    release, photographs = Generated.of(sources[0]), Real.of(sources[1])
    before = [
        [file_features(None, "same", source.data, 0.0) for source in kind]
        for kind in (release.read({*release.ids}), photographs.read({*photographs.names}))
    ]
    assert auc(*before, draws=0).area > 0.99
    kinds = pack_features(pack.folder)
    seen = auc(*kinds, partners=True)
    assert len(kinds[0]) > 200 and seen.is_chance() and seen.deviation < 0.05, seen


def test_an_area_is_that_of_chance_only_where_all_of_its_interval_is():
    assert Auc(0.501, 0.5, 0.009).is_within(0.02)
    for area, deviation in ((0.501, 0.011), (0.515, 0.005), (0.485, 0.005)):
        assert not Auc(area, 0.5, deviation).is_within(0.02)


def test_folds_that_are_dealt_again_make_an_area_surer():
    """It depends less on how they fell."""
    values, labels = np.random.default_rng(3).normal(size=(400, 3)), np.repeat([0.0, 1.0], 200)
    once, often = (
        np.std([validated(repeats, values, labels, True, np.random.default_rng(seed)) for seed in range(30)])
        for repeats in (1, 5)
    )
    assert often < 0.7 * once


def test_photographs_are_the_same_in_every_run(tmp_path):
    """What is drawn depends on their digests, so nothing in them may tell the time."""
    first = content(write_photographs(tmp_path / "first", 4, np.random.default_rng(4)))
    profiles = [Image.open(io.BytesIO(data)).info.get("icc_profile") for data in first.values()]
    assert any(profiles) and all(profile[24:36] == bytes(12) for profile in profiles if profile)
    assert content(write_photographs(tmp_path / "again", 4, np.random.default_rng(4))) == first


def test_the_number_of_bytes_would_tell_them_apart(sources, tmp_path):
    """Therefore partners have about as many."""
    kinds = pack_features(make(*sources, tmp_path / "any", ANY).folder)
    seen = auc(*kinds, partners=True)
    assert seen.area > 0.6 and not seen.is_chance()
    assert auc(*kinds, partners=True, without=("bytes", "bytes per pixel")).is_chance()


def test_partners_have_one_split_one_quality_and_as_many_bytes(pack):
    """Of the same quality and split there are as many of either kind."""
    rows = {}
    for row in manifest(pack.folder):
        rows.setdefault(row["pair"], {})[row["kind"]] = row
    assert len(rows) > 200
    for pair in rows.values():
        one, other = pair["generated"], pair["real"]
        assert (one["split"], one["quality"]) == (other["split"], other["quality"])
        assert min(one["bytes"], other["bytes"]) >= 0.98 * max(one["bytes"], other["bytes"])


def test_every_file_has_the_same_outside(pack):
    """Size, segments, time; the tables are those of the quality; names are the digests of the files."""
    seen = {}
    for row in manifest(pack.folder):
        path = pack.folder / row["file_name"]
        data = path.read_bytes()
        assert path.stem == hashlib.sha256(data).hexdigest()[:16] and len(data) == row["bytes"]
        assert path.stat().st_mtime == parity.TIME
        with Image.open(path) as image:
            assert image.size == (SIZE, SIZE) and image.mode == "RGB"
            assert {*image.info} == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            tables = {number: list(table) for number, table in image.quantization.items()}
        outside = (tables, list(segments(data)), data[-2:])
        assert seen.setdefault(row["quality"], outside) == outside
    assert sorted(seen) == [75, 85, 95]


def test_datasets_reads_a_pack_as_it_is(pack):
    """With kinds as labels, and splits; what is said of the pictures is no column."""
    loaded = datasets.load_dataset("imagefolder", data_dir=str(pack.folder))
    assert {*loaded} == {"train", "validation", "test"}
    for split, rows in loaded.items():
        assert rows.column_names == ["image", "label"] and rows.features["label"].names == ["generated", "real"]
        kinds = [row["kind"] for row in manifest(pack.folder) if row["split"] == split]
        assert [*map(rows["label"][:].count, (0, 1))] == [*map(kinds.count, ("generated", "real"))]
    assert {*datasets.load_dataset(str(pack.folder))} == {*loaded}


def test_comments_and_profiles_do_not_go_on(few, tmp_path):
    for path in few[1].rglob("*.JPG"):
        with Image.open(path) as image:
            image.save(path, comment="mine", dpi=(300, 300), xmp=b"<x/>", exif=image.getexif())
    kept = make(*few, tmp_path / "pack", Settings(size=SIZE, everything=True)).folder
    data = b"".join(path.read_bytes() for path in kept.glob("*/*/*"))
    assert len(manifest(kept)) == 20 and not any(word in data for word in (b"mine", b"<x", b"Exif", b"Camera", b"ICC"))


# How pictures are encoded.


def test_pictures_are_as_they_are_seen():
    """Turned as their file says, on white, in sRGB."""
    left = Image.new("RGB", (40, 20), "white")
    left.paste("red", (0, 0, 20, 20))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # to be turned clockwise
    left.save(file, "JPEG", exif=exif, quality=95)
    turned = parity_chain.seen(Image.open(file))
    assert turned.size == (20, 40) and turned.getpixel((10, 5))[1] < 60 < 200 < turned.getpixel((10, 35))[1]
    for mode in ("RGBA", "LA"):
        clear = Image.new(mode, (8, 8), (*([0] * (len(mode) - 1)), 0))
        assert parity_chain.seen(clear).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([200, 0, 0])
    palette.info["transparency"] = 0
    assert parity_chain.seen(palette).getpixel((0, 0)) == (255, 255, 255)
    assert parity_chain.seen(Image.new("CMYK", (8, 8), (0, 255, 255, 0))).getpixel((0, 0))[0] > 200


def test_colours_are_those_that_the_profile_means():
    """Here one in which they are lightness, and are converted; a broken profile means nothing."""
    image = Image.new("RGB", (8, 8), (200, 30, 30))
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert max(np.abs(np.subtract(parity_chain.seen(image).getpixel((0, 0)), (200, 30, 30)))) <= 1
    image.info["icc_profile"] = xyz
    assert "icc_profile" not in parity_chain.seen(image).info
    image.info["icc_profile"] = b"broken"
    assert parity_chain.seen(image).getpixel((0, 0)) == (200, 30, 30)


def test_a_face_is_in_the_middle(detector):
    """Wherever it was, but for the picture's border; without one the middle of the picture is."""
    wide = Image.fromarray(np.random.default_rng(0).integers(90, 110, (700, 1500, 3), dtype=np.uint8))
    wide.paste(portrait(), (900, 100))
    square, found = parity_chain.cut(wide, detector, 128)
    box = detector.largest(np.asarray(square))
    assert found and abs(box.left + box.width / 2 - square.width / 2) < 0.1 * square.width
    assert parity_chain.square(1000, 600, None, 392) == (200, 0, 600)
    assert parity_chain.square(1000, 600, Box(0, 0, 150, 200), 392) == (0, 0, 400)
    assert parity_chain.square(1000, 600, Box(900, 500, 15, 20), 392) == (608, 208, 392)


@pytest.mark.parametrize("size", [32, 100, 256, 2048])
def test_nothing_is_enlarged(size):
    """At no step, whatever is drawn; and all that may be drawn is."""
    draws = [parity_chain.Draws.of(str(n), size, (75, 95), 0) for n in range(3000)]
    assert all(size <= draw.side - parity_chain.GRID and draw.side <= parity_chain.needed(size) for draw in draws)
    assert {draw.left for draw in draws} == {draw.top for draw in draws} == {*range(8)}
    assert {draw.quality for draw in draws} == {75, 95}
    assert {draw.first_quality for draw in draws} == {*parity_chain.FIRST_QUALITIES}


def test_small_and_grey_pictures_are_left_out(detector):
    rng = np.random.default_rng(0)
    for image, reason in (
        (picture(rng, side=SMALL - 1), f"smaller than {SMALL} px"),
        (picture(rng, "L").convert("RGB"), "without colour"),
    ):
        with pytest.raises(parity_chain.Unfit, match=reason):
            parity_chain.cut(image, detector, SIZE)
    dark = Image.fromarray(np.full((SMALL, SMALL, 3), (12, 8, 4), dtype=np.uint8))
    assert not parity_chain.is_grey(dark)


# Which pictures.


def test_generated_pictures_keep_their_split_and_real_ones_get_the_same_shares(sources, pack):
    splits = Generated.of(sources[0]).ids
    rows = manifest(pack.folder)
    assert all(row["split"] == splits[row["source"]] for row in rows if row["kind"] == "generated")
    counts = [picture.split for picture in pack.encoded["real"]]
    assert 0.7 < counts.count("train") / len(counts) < 0.9 and min(map(counts.count, {*counts})) > 20


def test_pictures_that_look_the_same_are_in_one_split():
    """However many there are; which split that is, a hash tells."""
    rng = np.random.default_rng(0)
    looks = [int(value) for value in rng.integers(0, 2**63, 200)]
    near = [f"{look ^ bits:016x}" for look in looks for bits in (0, 1, 0b111000)]
    digests = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(len(near))]
    dealt = parity_pairs.splits(digests, near, {"train": 0.5, "test": 0.5}, 0)
    groups = [{*dealt[n : n + 3]} for n in range(0, len(dealt), 3)]
    assert all(len(group) == 1 for group in groups) and 60 < sum("test" in group for group in groups) < 140
    order = rng.permutation(len(near))
    again = parity_pairs.splits([digests[n] for n in order], [near[n] for n in order], {"train": 0.5, "test": 0.5}, 0)
    assert again == [dealt[n] for n in order]


def encoded(kind, sizes, split="train", quality=75):
    return [
        Encoded(kind, "", "", f"{kind}{n}", int(size), quality, 90, False, 400, split) for n, size in enumerate(sizes)
    ]


def test_partners_are_near_and_neither_kind_has_the_larger_ones():
    rng = np.random.default_rng(0)
    one, other = (encoded(kind, np.exp(rng.normal(mean, 0.3, 3000))) for kind, mean in (("a", 9), ("b", 9.4)))
    pairs = paired(one, other, 0.02, 0)
    assert len(pairs) > 1000 and all(pair[0].kind == "a" and pair[1].kind == "b" for pair in pairs)
    assert len({picture.name for pair in pairs for picture in pair}) == 2 * len(pairs)
    ratios = np.array([pair[0].bytes / pair[1].bytes for pair in pairs])
    assert ratios.min() >= 0.98 and ratios.max() <= 1 / 0.98 and abs(ratios.mean() - 1) < 0.001
    alike = [encoded(kind, np.exp(rng.normal(mean, 0.04, 3000))) for kind, mean in (("a", 9), ("b", 9.04))]
    pairs = paired(*alike, 0.02, 0)
    sizes = np.array([[picture.bytes for picture in pair] for pair in pairs])
    above = np.mean(sizes[:, :1] > sizes[:, 1]) + np.mean(sizes[:, :1] == sizes[:, 1]) / 2
    assert len(pairs) > 1500 and abs(above - 0.5) < 0.005
    assert paired(other, one, 0.02, 0) and len(paired(one, other[:50], 1.0, 0)) == 50
    assert paired(one, encoded("b", [1]), 0.02, 0) == []
    assert (
        paired(one, encoded("b", [9000], "test"), 1.0, 0) == paired(one, encoded("b", [9000], quality=95), 1.0, 0) == []
    )


def test_a_file_counts_once_and_the_releases_own_are_not_real(few, tmp_path):
    release, photographs = few
    generated = Generated.of(release)
    sources = list(generated.read({*generated.ids}))
    (photographs / "own.png").write_bytes(sources[0].data)
    Image.open(io.BytesIO(sources[1].data)).save(photographs / "again.webp", xmp=_xmp(sources[1].data))
    first = next(photographs.rglob("*.JPG"))
    shutil.copy(first, photographs / "copy.jpg")
    pack = make(release, photographs, tmp_path / "pack", Settings(size=SIZE, everything=True))
    assert pack.left_out["real"] == {"of the release itself": 1, "marked as machine-made": 1, "the same again": 1}
    assert sum(row["kind"] == "real" for row in manifest(pack.folder)) == 10


def _xmp(data):
    with Image.open(io.BytesIO(data)) as image:
        return image.info["XML:com.adobe.xmp"].encode()


def test_files_of_every_kind_are_read_and_the_rest_is_counted(few, tmp_path, capsys):
    """Links lead nowhere, hidden files and other endings are none."""
    release, photographs = few
    rng = np.random.default_rng(5)
    outside = tmp_path / "outside"
    outside.mkdir()
    picture(rng).save(outside / "secret.png")
    (photographs / "secret.png").symlink_to(outside / "secret.png")
    (photographs / "folder").symlink_to(outside)
    (photographs / ".hidden").mkdir()
    picture(rng).save(photographs / ".hidden/thumbnail.png")
    (photographs / "notes.txt").write_text("no picture")
    os.mkfifo(photographs / "pipe.jpg")
    for mode, name in (("RGBA", "a.png"), ("CMYK", "b.jpg"), ("P", "c.gif"), ("RGB", "d.tif"), ("RGB", "e.webp")):
        picture(rng, mode).save(photographs / name)
    picture(rng, "I;16").save(photographs / "x-ray.png")
    picture(rng, side=SMALL - 1).save(photographs / "small.png")
    (photographs / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    picture(rng).save(photographs / "cut\x1b.png")
    os.truncate(photographs / "cut\x1b.png", 2000)
    (photographs / os.fsdecode(b"\xff.webp")).write_bytes(b"")
    arguments = [
        str(release),
        "--real",
        str(photographs),
        "--out",
        str(tmp_path / "pack"),
        "--size",
        str(SIZE),
        "--all",
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "generated: 10 of 10 pictures, 0 with a face\n" in said
    assert "real: 15 of 20 pictures" in said and "2 links, which are not followed" in said
    assert "3 not readable (broken.jpg, cut?.png, ?.webp)" in said
    assert "1 smaller than 56 px" in said and "1 without colour" in said and "\x1b" not in said
    sources = {row["source"] for row in manifest(tmp_path / "pack") if row["kind"] == "real"}
    assert {"a.png", "b.jpg", "c.gif", "d.tif", "e.webp"} < sources
    assert "reduced to 32 px from squares of (median): generated 72 px, real " in said
    assert said.splitlines()[1] in (tmp_path / "pack/README.md").read_text()


def test_the_more_frequent_kind_is_sampled(few, tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "CANDIDATES", 1)
    rng = np.random.default_rng(9)
    for number in range(20):
        picture(rng).save(few[1] / f"{number}.png")
    pack = make(*few, tmp_path / "pack", ANY)
    assert pack.tried == {"generated": 10, "real": 10} and "20 not looked at" in str(pack)


def test_only_a_few_pictures_are_in_memory():
    ahead = 0

    def numbers():
        nonlocal ahead
        for number in range(500):
            ahead += 1
            yield number

    for count, number in enumerate(parity._in_order(lambda number: number, numbers())):
        assert count == number and ahead - count <= 2 * parity.THREADS


# The folder.


def test_the_same_sources_give_the_same_pack(few, tmp_path):
    packs = [content(make(*few, tmp_path / "out" / name / "pack", ANY).folder) for name in "ab"]
    assert packs[0] == packs[1]
    settings = Settings(size=SIZE, within=1.0, seed=1)
    other = content(make(*few, tmp_path / "c", settings).folder)
    assert not {name for name in other if name.endswith("jpg")} & {*packs[0]}


def fails(capsys, *arguments):
    """The line that the command ends in."""
    assert main([*map(str, arguments)]) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1, written
    return written.err.strip()


def test_what_is_wrong_is_told_in_a_line(few, tmp_path, capsys):
    release, photographs = few
    out, there, empty = tmp_path / "pack", tmp_path / "there", tmp_path / "empty"
    there.mkdir()
    (there / "mine").write_text("mine")
    empty.mkdir()
    for real, place, says in (
        (photographs, there, f"{there}: is there already, and is not replaced; move it away or use --out"),
        (photographs, release / "pack", "lies in"),
        (photographs, photographs / "pack", "lies in"),
        (tmp_path, tmp_path.parent / "pack-of-all", "lie in each other"),
        (tmp_path / "nowhere", out, "is not a folder"),
        (empty, out, "holds no picture files"),
    ):
        assert says in fails(capsys, release, "--real", real, "--out", place, "--size", SIZE)
    assert "no release; name its folder" in fails(capsys, empty, "--real", photographs, "--out", out)
    assert "0 real pictures" not in fails(capsys, release, "--real", photographs, "--out", out, "--size", 512)
    says = fails(capsys, release, "--real", photographs, "--out", out, "--qualities", "75,x")
    assert says == "parity: --qualities: must be whole numbers from 1 to 100 with commas between them, got '75,x'"
    assert (there / "mine").read_text() == "mine" and {path.name for path in tmp_path.iterdir()} == {
        *("agfd30k", "photographs", "there", "empty")
    }


def test_from_python_it_is_the_same_pack(few, tmp_path):
    """Beside the release unless it is said where."""
    pack = builder.parity(*map(str, few), size=SIZE, within=1.0)
    assert pack.folder == few[0].parent / "agfd30k-parity"
    arguments = [few[0], "--real", few[1], "--out", tmp_path / "other", "--size", SIZE, "--bytes-within", 1]
    assert main([*map(str, arguments)]) == 0 and content(pack.folder) == content(tmp_path / "other")


@pytest.mark.parametrize(
    "option",
    [{"size": 31}, {"size": 2049}, {"qualities": ()}, {"qualities": (75, 101)}, {"within": 0.0}, {"within": 1.5}],
)
def test_options_that_are_out_of_range_are_told_and_nothing_is_written(few, tmp_path, option):
    with pytest.raises(UserError, match=f"^{next(iter(option))}: must be "):
        builder.parity(*few, tmp_path / "pack", **option)
    assert {path.name for path in tmp_path.iterdir()} == {"agfd30k", "photographs"}


def test_no_picture_left_and_no_partner_are_told_with_what_to_do(few, tmp_path):
    release, photographs = few
    with pytest.raises(UserError, match="no generated picture is left: 10 smaller than 776 px; a smaller --size"):
        make(release, photographs, tmp_path / "pack", Settings(size=512))
    with pytest.raises(UserError, match="none of 10 generated and 10 real pictures have a partner"):
        make(release, photographs, tmp_path / "pack", Settings(size=SIZE, qualities=tuple(range(40, 96)), within=1e-9))
    assert {path.name for path in tmp_path.iterdir()} == {"agfd30k", "photographs"}


def test_a_damaged_release_is_told_and_nothing_is_left(few, tmp_path):
    path = few[0] / "data/train.parquet"
    table = pq.read_table(path)
    pq.write_table(table.set_column(2, "sha256", [["0" * 64] * len(table)]), path)
    with pytest.raises(UserError, match=r"train.parquet: the picture of fog-00000 is not the one its row says"):
        make(*few, tmp_path / "pack", ANY)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"train.parquet: cannot be read"):
        make(*few, tmp_path / "pack", ANY)
    assert {path.name for path in tmp_path.iterdir()} == {"agfd30k", "photographs"}


def test_a_full_disk_is_a_line_and_leaves_nothing(few, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parity, "sync", full)
    says = fails(capsys, few[0], "--real", few[1], "--out", tmp_path / "pack", "--size", SIZE)
    assert says == f"parity: {tmp_path}/.pack.tmp: cannot be written: No space left on device; nothing of it is left"
    assert {path.name for path in tmp_path.iterdir()} == {"agfd30k", "photographs"}


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_moment_it_leaves_no_pack_and_the_next_run_makes_it(few, tmp_path, moment, number):
    """Before what was chosen is in its place, and after."""
    wait = f"open({str(tmp_path / 'now')!r}, 'w'); time.sleep(60)"
    body = f"{wait}; place(*arguments)" if moment == "before" else f"place(*arguments); {wait}"
    arguments = [few[0], "--real", few[1], "--out", tmp_path / "pack", "--size", SIZE, "--bytes-within", 1]
    process = subprocess.Popen([sys.executable, "-c", SLOW.format(body), *map(str, arguments)], stderr=subprocess.PIPE)
    until((tmp_path / "now").exists)
    process.send_signal(number)
    said = process.communicate(timeout=30)[1].decode()
    assert process.returncode in (-number, 128 + number) and not (tmp_path / "pack").exists()
    if number != signal.SIGKILL:
        assert said == "parity: stopped, nothing was written\n" and not (tmp_path / ".pack.tmp").exists()
    assert main([*map(str, arguments)]) == 0
    assert content(tmp_path / "pack") == content(make(*few, tmp_path / "other", ANY).folder)
    assert not list(tmp_path.glob(".*"))
