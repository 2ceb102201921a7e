"""Thirty thousand rows: the report is there in under 20 seconds, in less than a gibibyte."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import agfd30k
from agfd30k import FACE_BOX, LABELS
from builder.spec import table

ROOT = Path(__file__).parents[2]
MEASURED = """
import os, resource, sys
status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-m", "builder", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""
BOX = (100, 100, 200, 250)


def stand_in(folder):
    """The labels of a whole release; returns the ids."""
    rows = [
        (f"{feature.attribute}-{feature.name}-{sex}-{n:05}", feature.attribute, feature.name, sex)
        for feature in table.load().features
        for sex in LABELS["sex"]
        for n in range(getattr(feature, sex))
    ]
    schema = agfd30k.features(LABELS, "metadata").arrow_schema
    columns = {name: pa.nulls(len(rows), schema.field(name).type) for name in schema.names}
    columns["id"] = pa.array([row[0] for row in rows])
    for place, name in enumerate(("attribute", "feature", "sex"), 1):
        columns[name] = pa.array([LABELS[name].index(row[place]) for row in rows], pa.int64())
    columns |= dict.fromkeys(("ethnicity", "age_group"), pa.array([0] * len(rows)))
    columns |= {name: pa.array([value] * len(rows), pa.float32()) for name, value in zip(FACE_BOX, BOX)}
    columns["verified"] = pa.array([True] * len(rows))
    (folder / "metadata").mkdir(parents=True)
    pq.write_table(pa.table(columns, schema=schema), folder / "metadata/train-00000-of-00001.parquet")
    return [row[0] for row in rows]


@pytest.mark.process
def test_thirty_thousand_rows(tmp_path):
    rng = np.random.default_rng(0)
    ids = stand_in(tmp_path / "release")
    boxes = [[[100 + round(shift), *BOX[1:], 0.9], [0, 0, 9, 9, 0.6]] for shift in rng.normal(0, 40, len(ids))]
    lines = "".join(json.dumps({"id": id, "boxes": own}) + "\n" for id, own in zip(ids, boxes))
    (tmp_path / "mine.jsonl").write_text(lines)
    command = [sys.executable, "-c", MEASURED, "evaluate", "release", "--task", "detect", "--out", "report"]
    command += ["--predictions", "mine.jsonl", "--by", "feature,sex", "--by", "feature,ethnicity"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 20 and int(done.stderr.split()[-1]) < 1 << 20  # KiB
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["release"]["pictures"] == 30_000 == report["overall"]["trials"]
    assert len(report["slices"][0]["cells"]) == 64
