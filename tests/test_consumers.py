"""What other libraries read of a release, from the Hub: every row once, and labels whose names are those of the build.

pandas, DuckDB, pyarrow and polars read through huggingface_hub's file system; polars also by HTTP, since its own `hf://`
knows the real Hub only. Then torch's workers and nodes, and the blocks of docs/consumers.md, on the release's folder.
"""

import io
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import datasets
import duckdb
import huggingface_hub.constants
import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest
import webdataset
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.utils import _http
from PIL import Image

import agfd30k
from builder.dataset.folder import Release
from builder.dataset.packing import pack
from builder.dataset.webdataset import export
from builder.raw.build import RawBuild
from tests.fixtures.builds import write_raw
from tests.fixtures.hub import Hub

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # the client's own
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]
REPO = "user/faces"
LABELS = f"hf://datasets/{REPO}/metadata"
TOKEN = "hf_read"
PAGE = Path(__file__).parent.parent / "docs/consumers.md"
STREAMED = """
import json
from collections import Counter
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader, get_worker_info

def by_whom(row):
    return {"id": row["id"], "size": row["image"].size, "worker": get_worker_info().id}

def read(faces):
    faces = faces.map(by_whom, remove_columns=faces.column_names)
    return [row for batch in DataLoader(faces, batch_size=4, num_workers=2, collate_fn=list) for row in batch]

faces = load_dataset("user/faces", "all", split="train", streaming=True)
nodes = [split_dataset_by_node(faces, rank=rank, world_size=2) for rank in range(2)]
print(json.dumps({"all": read(faces), "nodes": [read(node) for node in nodes], "shards": faces.num_shards}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a raw build, and its release with at least as many files a split as it has attributes."""
    place = tmp_path_factory.mktemp("built")
    write_raw(place / "raw", scale=0.02)
    pack(RawBuild.open(place / "raw"), place / "agfd30k")
    return place


@pytest.fixture(scope="module")
def hub(built):
    """A Hub that has the release as a dataset."""
    with pytest.MonkeyPatch.context() as patch, Hub(built / "hub", lfs_threshold=10_000) as hub:
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("NO_PROXY", "*")
        _http.close_session()
        api = HfApi(hub.endpoint, token="hf_write")
        api.create_repo(REPO, repo_type="dataset")
        api.upload_folder(repo_id=REPO, repo_type="dataset", folder_path=built / "agfd30k")
        yield hub
    _http.close_session()


@pytest.fixture
def files(hub):
    """The Hub as a file system."""
    return HfFileSystem(endpoint=hub.endpoint, token=TOKEN, skip_instance_cache=True)


@pytest.fixture(scope="module")
def rows(built):
    """The rows of the raw build by id, with names for labels, and their pictures' paths."""
    shards = agfd30k.shards(built / "raw")
    return {row["id"]: row | {"path": agfd30k.picture(s, row)} for s in shards for row in agfd30k.read_rows(s)}


@pytest.fixture(scope="module")
def names(built):
    """Class labels and their names, as the page finds them in the schema."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(built)
        exec(next(block for block in blocks() if "names =" in block), found)
    return found["names"]


def blocks():
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def require_same(read, rows, names, split=None):
    """Fail unless columns of numbers, by id, are the names of the raw rows; all of them, or those of a split."""
    wanted = {id: row for id, row in rows.items() if split in (None, row["split"])}
    assert sorted(read["id"]) == sorted(wanted) and {"attribute", "feature", "sex", "ethnicity"} <= {*names}
    for column, values in names.items():
        said = dict(zip(read["id"], (values[number] for number in read[column])))
        assert said == {id: str(row[column]) for id, row in wanted.items()}
    assert dict(zip(read["id"], read["seed"])) == {id: row["seed"] for id, row in wanted.items()}


def paths(files, pattern):
    return [f"hf://{path}" for path in files.glob(f"datasets/{REPO}/{pattern}")]


def test_pandas(hub, files, rows, names):
    """A folder, or a file; numbers for labels, pictures as their bytes."""
    options = {"endpoint": hub.endpoint, "token": TOKEN}
    require_same(pd.read_parquet(LABELS, storage_options=options), rows, names)
    parts = [pd.read_parquet(path, storage_options=options) for path in paths(files, "metadata/train-*.parquet")]
    require_same(pd.concat(parts), rows, names, "train")
    faces = [pd.read_parquet(path, storage_options=options) for path in paths(files, "data/base/*.parquet")]
    for row in pd.concat(faces).to_dict("records"):
        assert row["image"]["bytes"] == rows[row["id"]]["path"].read_bytes()
        assert Image.open(io.BytesIO(row["image"]["bytes"])).size == (16, 16)


def test_polars(hub, files, rows, names, monkeypatch):
    """A file by HTTP, all of them through huggingface_hub."""
    parts = []
    for path in paths(files, "metadata/*.parquet"):
        with files.open(path) as file:
            parts.append(pl.read_parquet(file))
    require_same(pl.concat(parts), rows, names)
    dataset = pyarrow.dataset.dataset(f"datasets/{REPO}/metadata", filesystem=files, format="parquet")
    number = names["sex"].index("female")
    women = pl.scan_pyarrow_dataset(dataset).filter(pl.col("sex") == number).select("id").collect()
    assert sorted(women["id"]) == sorted(id for id, row in rows.items() if row["sex"] == "female")
    url = f"{hub.endpoint}/datasets/{REPO}/resolve/main/"
    monkeypatch.setenv("NO_PROXY", "*")
    parts = [pl.scan_parquet(url + path.split(f"{REPO}/")[1]) for path in paths(files, "metadata/train-*.parquet")]
    require_same(pl.concat(parts).select("id", "seed", *names).collect(), rows, names, "train")


def test_duckdb(files, rows, names):
    """By CASE and by a join, counts by name are those of the build; pictures are their bytes."""
    connection = duckdb.connect()
    connection.register_filesystem(files)
    read = connection.sql(f"FROM '{LABELS}/*.parquet'").df()
    require_same(read, rows, names)
    numbers = ", ".join(f"({number}, '{name}')" for number, name in enumerate(names["feature"]))
    joined = connection.sql(f"""
        SELECT name, count(*) FROM '{LABELS}/*.parquet' JOIN (VALUES {numbers}) AS features(number, name)
        ON feature = number GROUP BY name
    """).fetchall()
    assert dict(joined) == Counter(row["feature"] for row in rows.values())
    found = connection.sql(f"SELECT id, image.bytes FROM 'hf://datasets/{REPO}/data/*/*.parquet'").fetchall()
    assert dict(found) == {id: row["path"].read_bytes() for id, row in rows.items()} and len(found) == len(rows)


def test_pyarrow(files, rows, names):
    """A dataset over the folder, columns chosen and rows filtered where they lie."""
    dataset = pyarrow.dataset.dataset(f"datasets/{REPO}/metadata", filesystem=files, format="parquet")
    require_same(dataset.to_table().to_pydict(), rows, names)
    mask = names["feature"].index("only_mask")
    ids = dataset.to_table(columns=["id"], filter=pyarrow.dataset.field("feature") == mask)["id"].to_pylist()
    assert sorted(ids) == sorted(id for id, row in rows.items() if row["feature"] == "only_mask")


@pytest.mark.process
def test_torchs_workers_and_nodes_share_a_stream(hub, rows, tmp_path):
    """Every picture comes once, to both workers; two nodes have nothing in common, and everything together."""
    environment = hub.environment(tmp_path / "home", TOKEN)
    command = [sys.executable, "-c", STREAMED]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    wanted = sorted(id for id, row in rows.items() if row["split"] == "train")
    assert told["shards"] >= 8
    assert sorted(row["id"] for row in told["all"]) == wanted
    assert {row["worker"] for row in told["all"]} == {0, 1} and {*map(tuple, (r["size"] for r in told["all"]))} == {
        (16, 16)
    }
    one, two = ({row["id"] for row in node} for node in told["nodes"])
    assert not one & two and sorted(one | two) == wanted and len(one) + len(two) == sum(map(len, told["nodes"]))
    assert all({row["worker"] for row in node} == {0, 1} for node in told["nodes"])


@pytest.mark.process
@pytest.mark.parametrize("workers", [2, 8])
def test_webdatasets_workers_share_an_export(built, rows, tmp_path, workers):
    """Every picture of a split comes once, with its label."""
    export(Release(built / "agfd30k"), "all", tmp_path / "out")
    info = json.loads((tmp_path / "out/info.json").read_text())
    for split, told in info["splits"].items():
        urls = [str(tmp_path / "out" / name) for name in told["filenames"]]
        faces = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("__key__", "png", "cls")
        loader = webdataset.WebLoader(faces, batch_size=None, num_workers=workers)
        read = [(key, picture.size, info["classes"][number]) for key, picture, number in loader]
        wanted = [(id, (16, 16), row["feature"]) for id, row in rows.items() if row["split"] == split]
        assert sorted(read) == sorted(wanted)


@pytest.mark.process
def test_the_pages_blocks_run(built, rows, tmp_path, monkeypatch):
    """One after another, as they stand, on the release; what they come to is what was built."""
    monkeypatch.chdir(tmp_path)
    Path("agfd30k").symlink_to(built / "agfd30k")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    export(Release(built / "agfd30k"), "occlusion", Path("occlusion-tars"))
    train = [row for row in rows.values() if row["split"] == "train"]
    features = Counter(row["feature"] for row in train)
    women = Counter(row["feature"] for row in train if row["sex"] == "female")
    space = {}
    for block in blocks():
        exec(block, space)
        if "import pandas" in block:
            assert space["faces"].groupby("feature", observed=True)["id"].count().to_dict() == features
        if "import polars" in block:
            counts = space["faces"].filter(sex="female").group_by("feature").len().collect()
            assert dict(counts.iter_rows()) == women
        if "counts =" in block:
            counts = {(feature, ethnicity): count for feature, ethnicity, count in space["counts"].fetchall()}
            assert counts == Counter((row["feature"], row["ethnicity"]) for row in train)
    assert space["pictures"] == len(train) and space["labels"]["attribute"] == "occlusion"
