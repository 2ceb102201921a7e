"""What a build is made from is recorded once it is known to work, and not before."""

import pytest

from builder.common.errors import UserError
from builder.raw.ownership import read_recipe
from tests.fixtures import standin
from tests.fixtures.inside import build

FEW = ["--model", "preview", "--only", "base", "--limit", "4"]


def unloadable(*_, **__):
    raise UserError("model preview: cannot be loaded")


@pytest.mark.parametrize("broken", ["load", "checks"])
def test_what_cannot_be_loaded_is_not_recorded(tmp_path, broken):
    """Neither a model nor a check's: the folder stays free for the next try, with whatever recipe."""
    loaders = {"load": standin.StandIn, "checks": standin.checks}
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        build(tmp_path, *FEW, **{**loaders, broken: unloadable})
    assert read_recipe(tmp_path / "agfd30k-raw") is None
    build(tmp_path, *FEW, "--image-format", "webp", **loaders)
    assert read_recipe(tmp_path / "agfd30k-raw").settings.image_format == "webp"


def test_a_model_is_loaded_once_whether_it_is_recorded_or_not(tmp_path):
    loaded = []

    def load(*source, **options):
        loaded.append(source)
        return standin.StandIn(*source, **options)

    build(tmp_path, *FEW, load=load, checks=standin.checks)
    assert len(loaded) == 1
    build(tmp_path, *FEW[:-1], "8", load=load, checks=standin.checks)
    assert len(loaded) == 2


def test_a_folder_of_something_else_is_refused_before_the_model_is_loaded(tmp_path):
    (tmp_path / "agfd30k-raw").mkdir()
    (tmp_path / "agfd30k-raw" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(RuntimeError, match="is not empty"):
        build(tmp_path, *FEW, load=None, checks=None)
