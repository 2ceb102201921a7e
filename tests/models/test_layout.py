"""Which files of a repository are read is told from their list alone: safetensors, whole, and never a pickle."""

import json

import pytest

from builder.models import faults, layout
from builder.models.identity import File
from builder.models.repository import Repository
from tests.fixtures.inside import NOMINAL

FOLDERS = [path for path in NOMINAL if not path.startswith(("safety_checker/", "feature_extractor/"))]
WEIGHTS = [path for path in FOLDERS if path.endswith(".safetensors")]
SINGLE = "Realistic_Vision_V2.0.safetensors"


def repository(*paths, **documents):
    """A repository of these files; `documents` give the content of some."""
    contents = {**{path: NOMINAL.get(path) for path in paths}, **documents}
    files = {path: File(path, 1) for path in contents}
    return Repository("model", "hub", "owner/name", "owner/name", "c0ffee", files, lambda path: _bytes(contents[path]))


def _bytes(content):
    return json.dumps(content).encode()


def pickled(paths):
    """The same files with weights as pickles."""
    return [path.replace(".safetensors", ".bin") for path in paths]


def chosen(there, file=None, half=False):
    return layout.of_model(there, file, half)


def test_folders_with_safetensors_for_every_part_are_read():
    """So are they beside a single file and pickles; nothing but what is needed is chosen."""
    there = repository(*FOLDERS, *pickled(WEIGHTS), SINGLE, "README.md", "unet/diffusion_flax_model.msgpack")
    plan = chosen(there, SINGLE)
    assert (plan.file, plan.configs) == ("", True)
    assert {file.path for file in plan.files} == set(FOLDERS)


def test_folders_of_pickles_give_way_to_the_single_file_that_is_named():
    """As Realistic Vision's: its configs and tokenizer are read from the same repository."""
    there = repository(*pickled(FOLDERS), SINGLE, "other.safetensors", "model.ckpt")
    plan = chosen(there, SINGLE)
    assert (plan.file, plan.configs) == (SINGLE, True)
    assert {file.path for file in plan.files} == {*FOLDERS, SINGLE} - set(WEIGHTS)


def test_one_part_without_safetensors_is_enough_for_the_single_file():
    there = repository(*FOLDERS[:-2], *pickled(WEIGHTS), SINGLE)
    del there.files[WEIGHTS[1]]
    assert chosen(there).file == SINGLE


@pytest.mark.parametrize("beside", ["name-inpainting.safetensors", "a.vae.safetensors", "detail-lora.safetensors"])
def test_the_only_full_file_is_taken_without_being_named(beside):
    assert chosen(repository(*pickled(FOLDERS), SINGLE, beside)).file == SINGLE


def test_a_file_without_configs_is_read_with_others():
    plan = chosen(repository(SINGLE, "README.md"))
    assert (plan.file, plan.configs, [file.path for file in plan.files]) == (SINGLE, False, [SINGLE])


def test_several_files_are_named():
    with pytest.raises(faults.Ambiguous, match=r"pruned\.safetensors, name-ema\.safetensors"):
        chosen(repository("name-pruned.safetensors", "name-ema.safetensors"))


def test_a_name_cannot_break_the_line():
    """Nor steer the terminal."""
    with pytest.raises(faults.Ambiguous, match=r": a\?b\.safetensors, \?\[31mc\.safetensors$"):
        chosen(repository("a\nb.safetensors", "\x1b[31mc.safetensors"))


def test_pickles_alone_are_refused_and_named():
    with pytest.raises(faults.Pickled, match=r"unet/diffusion_pytorch_model\.bin and 3 more"):
        chosen(repository(*pickled(FOLDERS), "model.ckpt"))


def test_neither_weights_nor_pickles():
    with pytest.raises(faults.NoModel, match=r"holds no model_index\.json"):
        chosen(repository("README.md"))


@pytest.mark.parametrize("missing", ["unet/config.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"])
def test_a_folder_without_a_small_part_is_incomplete(missing):
    with pytest.raises(faults.Incomplete, match=missing):
        chosen(repository(*[path for path in FOLDERS if path != missing]))


def test_a_part_without_any_weights_is_incomplete():
    with pytest.raises(faults.Incomplete, match="vae has no weights"):
        chosen(repository(*[path for path in FOLDERS if path != WEIGHTS[1]]))


def test_sixteen_bits_are_read_where_they_are_wanted_and_there():
    """Of a part that has no such variant the full one is read; where there is only the variant, it is."""
    fp16 = "unet/diffusion_pytorch_model.fp16.safetensors"
    there = repository(*FOLDERS, fp16)
    assert {f.path for f in chosen(there, half=True).files} == {*FOLDERS, fp16} - {WEIGHTS[0]}
    assert {f.path for f in chosen(there).files} == set(FOLDERS)
    del there.files[WEIGHTS[0]]
    assert fp16 in {f.path for f in chosen(there).files}


INDEX = "unet/diffusion_pytorch_model.safetensors.index.json"


def sharded(*names):
    parts = [path for path in FOLDERS if path != WEIGHTS[0]]
    return repository(*parts, "unet/a.safetensors", "unet/b.bin", **{INDEX: {"weight_map": dict.fromkeys(names)}})


def test_weights_in_several_files_are_read_by_their_index():
    there = sharded()
    there = repository(*there.files, **{INDEX: {"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}}})
    assert {"unet/a.safetensors", INDEX} <= {file.path for file in chosen(there).files}


@pytest.mark.parametrize("name", ["b.bin", "../a.safetensors", "/a.safetensors", 5])
def test_an_index_may_name_safetensors_beside_it_alone(name):
    there = repository(*sharded().files, **{INDEX: {"weight_map": {"x": name}}})
    with pytest.raises(faults.Pickled, match=r"which is no \.safetensors file"):
        chosen(there)


TEXT_INDEX = "text_encoder/model.safetensors.index.json"


def test_nor_does_that_of_a_text_encoder_or_of_the_attribute_check_s_model():
    """transformers would read the pickle that such an index names."""
    pickled = {"weight_map": {"x": "pytorch_model.bin"}}
    parts = [path for path in FOLDERS if path != "text_encoder/model.safetensors"]
    with pytest.raises(faults.Pickled, match=r"which is no \.safetensors file"):
        chosen(repository(*parts, "text_encoder/pytorch_model.bin", **{TEXT_INDEX: pickled}))
    reader = repository("pytorch_model.bin", **{"config.json": {}, "model.safetensors.index.json": pickled})
    with pytest.raises(faults.Pickled, match=r"which is no \.safetensors file"):
        layout.of_transformer(reader)


def test_an_index_that_names_what_is_not_there():
    there = repository(*sharded().files, **{INDEX: {"weight_map": {"x": "c.safetensors"}}})
    with pytest.raises(faults.Incomplete, match=r"unet/c\.safetensors is missing"):
        chosen(there)


@pytest.mark.parametrize("map", [None, {}, [], "x"])
def test_an_index_that_is_none(map):
    with pytest.raises(faults.Damaged, match="names no weights"):
        chosen(repository(*sharded().files, **{INDEX: {"weight_map": map}}))


# The safety checker.


def test_a_checker_of_its_own_counts_as_safetensors_alone():
    """With its config, its processor, and named in the index."""
    assert layout.of_checker(repository(*NOMINAL))[0] == "safety_checker/model.safetensors"
    for missing in ("safety_checker/config.json", "feature_extractor/preprocessor_config.json"):
        assert layout.of_checker(repository(*{*NOMINAL} - {missing})) is None
    assert layout.of_checker(repository(*pickled(NOMINAL))) is None
    for odd in ([None, None], [], 5, True, {"a": 1}, None):
        index = {**NOMINAL["model_index.json"], "safety_checker": odd}
        assert layout.of_checker(repository(*NOMINAL, **{"model_index.json": index})) is None


def test_a_repository_that_is_a_checker():
    """At its top, or a whole model's own."""
    paths = ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert layout.of_lone_checker(repository(*paths, "pytorch_model.bin"))[0] == "model.safetensors"
    assert layout.of_lone_checker(repository(*NOMINAL))[0] == "safety_checker/model.safetensors"
    with pytest.raises(faults.Pickled):
        layout.of_lone_checker(repository(*pickled(paths)))
    with pytest.raises(faults.NoModel):
        layout.of_lone_checker(repository(paths[0], paths[1]))


def test_a_reader_takes_its_small_files_and_nothing_else():
    paths = ["config.json", "vocab.json", "merges.txt", "preprocessor_config.json", "model.safetensors"]
    there = repository(*paths, "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "README.md")
    assert set(layout.of_transformer(there)) == set(paths)
