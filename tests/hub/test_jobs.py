"""`agfd30k jobs`: what a build on the Hub's machines costs, the script that makes it, and how it goes on."""

import ast
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BucketBatchError
from huggingface_hub.utils import _http

import agfd30k
from builder import jobs
from builder.common import retry
from builder.generation.pace import FILE
from builder.hub import job as job_module
from builder.hub import jobs as hub_jobs
from builder.hub.job import Job, JobConfig, is_whole
from builder.raw.build import RawBuild
from tests.experiments.upload_faults import REPO
from tests.fixtures.bucket import FolderBucket, Killed
from tests.fixtures.builds import own_table, write_raw
from tests.fixtures.client import turn_to
from tests.fixtures.hub import Hub

BUCKET = ("--bucket", "user/build")
A10G = {
    **{"name": "a10g-small", "prettyName": "Nvidia A10G - small", "cpu": "4 vCPU", "ram": "15 GB"},
    **{"ephemeralStorage": "110 GB", "accelerator": None, "unitCostMicroUSD": 17500, "unitCostUSD": 0.0175},
    "unitLabel": "minute",
}
"""A machine in the form in which the Hub tells of one; the price is made up."""
STAND_IN = """
import os, sys
from huggingface_hub import HfApi
from tests.fixtures.bucket import FolderBucket
bucket = FolderBucket(os.environ["BUCKET_FOLDER"])
for name in ("create_bucket", "sync_bucket", "batch_bucket_files"):
    setattr(HfApi, name, lambda self, *args, name=name, **options: getattr(bucket, name)(*args, **options))
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with Hub(tmp_path / "hub") as hub:
        hub.hardware = [A10G]
        turn_to(hub, tmp_path / "home", monkeypatch, "hf_write")
        monkeypatch.setattr(hub_jobs, "HfApi", lambda **_: HfApi(hub.endpoint))
        monkeypatch.setenv("NO_PROXY", "*")
        _http.close_session()
        yield hub
        _http.close_session()


def run(capsys, *arguments, status=0):
    """Run the command; returns what it has printed: the result, and what it said beside it."""
    assert jobs.main([*BUCKET, *arguments]) == status
    return capsys.readouterr()


def facts(said):
    """What is said beside the result, by its first word."""
    return dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)


# What it costs.


def test_the_cost_is_what_is_left_by_rate_and_price(hub, capsys):
    """Pictures of finished shards in the bucket are made already; a minute's price is brought to an hour's."""
    hub.buckets["user/build"] = {f"raw/shards/hair-00000/images/{number}.png": b"" for number in range(50)}
    hub.buckets["user/build"] |= {"raw/recipe.json": b"", "raw/shards/hair-00000/receipt.json": b""}
    said = facts(run(capsys, "--rate", "2", "--limit", "7250").err)
    assert said["pictures"] == "7,250 asked for, 50 in hf://buckets/user/build/raw, 7,200 left"
    assert said["rate"] == "2 pictures/s, as --rate says"
    assert said["price"].startswith("$1.05/h for a10g-small (Nvidia A10G - small, 15 GB, 110 GB of disk)")
    assert said["cost"].startswith("1:00:00 and $1.05 for 7,200 pictures;") and "not measured" in said["cost"]


def test_nothing_is_guessed(hub, capsys):
    said = facts(run(capsys, "--only", "hair").err)
    assert said["rate"].startswith("unknown: run 20 pictures first, with the same command, --limit 20 and --start")
    assert said["cost"] == "not known without a rate and a price"
    hub.fault("GET /api/jobs/hardware", status=404, times=9)
    assert facts(run(capsys, "--rate", "1").err)["price"].startswith("unknown, because the Hub answers 404")
    said = facts(run(capsys, "--rate", "1", "--price-per-hour", "3", "--limit", "3600").err)
    assert said["cost"].startswith("1:00:00 and $3.00")


def test_a_price_by_another_unit_is_not_taken_for_one_by_the_hour(hub, capsys):
    hub.hardware = [{**A10G, "unitLabel": "fortnight"}]
    assert facts(run(capsys).err)["price"] == "unknown: the Hub tells it by the fortnight; give --price-per-hour"


@pytest.mark.parametrize(("device", "known"), [("cuda", True), ("cpu", False)])
def test_the_rate_is_that_of_a_build_on_such_a_machine(hub, capsys, tmp_path, device, known):
    (tmp_path / FILE).write_text(json.dumps({"device": device, "processes": 2, "pictures_per_second": 4.0}))
    said = facts(run(capsys, "--raw", str(tmp_path)).err)
    assert said["rate"].startswith("4 pictures/s, measured by 2 processes on cuda" if known else "unknown (what ")
    assert ("$" in said["cost"]) == known


def test_the_rate_is_that_of_the_bucket(hub, capsys, monkeypatch):
    """As twenty pictures have left it there."""
    note = json.dumps({"device": "cuda", "processes": 1, "pictures_per_second": 0.5})
    hub.buckets["user/build"] = {f"raw/{FILE}": note.encode()}

    def download(self, bucket, files, raise_on_missing_files):
        assert [info.path for info in self.get_bucket_paths_info(bucket, [name for name, _ in files])]
        for name, path in files:
            Path(path).write_bytes(hub.buckets[bucket][name])

    monkeypatch.setattr(HfApi, "download_bucket_files", download)
    said = facts(run(capsys, "--limit", "1800").err)
    assert said["rate"] == "0.5 pictures/s, measured by 1 process on cuda and noted in hf://buckets/user/build/raw"
    assert said["cost"].startswith("1:00:00 and $1.05 for 1,800 pictures")


def test_a_time_out_that_is_too_short_is_told(hub, capsys):
    said = facts(run(capsys, "--rate", "1", "--limit", "7200", "--timeout", "50m", "--attempts", "2").err)
    assert said["time-out"].startswith("2 × 50m are not enough")
    assert "time-out" not in facts(run(capsys, "--rate", "1", "--limit", "7200", "--timeout", "2h").err)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--bucket", "mine"), "--bucket: must be owner/name, or owner/name/folder, got 'mine'"),
        (("--timeout", "long"), "--timeout: must be a number with s, m, h or d behind it, got 'long'"),
        (("--flavor", "a11g"), "--flavor: the Hub has no 'a11g'; it has a10g-small"),
        (("--rate", "0"), "--rate: must be a number above 0, got '0'"),
        (("--only", "hats"), "hats"),
        (("--repo-id", "mine"), "--repo-id: must be owner/name, got 'mine'"),
        (("--repo-id", REPO, "--limit", "20"), "a part is only published with --allow-incomplete"),
        (("--repo-id", REPO, "--scale", "0.5"), "a part is only published with --allow-incomplete"),
        (("--repo-id", REPO, "--only", "hair", "--append"), "a part is only published with --allow-incomplete"),
        (("--repo-id", REPO, "--model", "preview"), "its pictures are only published with --allow-preview"),
        (("--model", "./mine.safetensors"), "the model ./mine.safetensors is a file or folder of this machine"),
        (("--model", "builder/preview"), "the model builder/preview is a file or folder of this machine"),
        (("--tag", "v2", "--public"), "--tag, --public: nothing is published without --repo-id"),
        (("--append",), "--append: nothing is published without --repo-id"),
    ],
)
def test_what_is_wrong_is_one_line(hub, capsys, arguments, line):
    said = run(capsys, *arguments, status=2).err
    assert said.splitlines()[-1].startswith("jobs: ") and line in said.splitlines()[-1] and not hub.jobs


# The script.


def header_of(script):
    """What the PEP 723 header says."""
    lines = re.search(r"(?m)^# /// script$\n(?P<toml>(^#.*$\n)+)^# ///$", script)["toml"]
    return tomllib.loads("".join(line[2:] + "\n" for line in lines.splitlines()))


def test_the_script_says_what_it_needs_and_how_it_is_started(hub, capsys):
    """Without anything else it is printed; its commands are ones that are there."""
    printed = run(capsys, "--repo-id", REPO, "--append", "--tag", "v2", "--flavor", "a10g-small")
    tree = ast.parse(printed.out)
    header = header_of(printed.out)
    assert header["requires-python"] == ">=3.11" and f"datasets=={version('datasets')}" in header["dependencies"]
    assert all("==" in line and "+" not in line for line in header["dependencies"])
    command = shlex.split(next(line for line in ast.get_docstring(tree).splitlines() if "hf jobs" in line))
    assert command[:5] == ["hf", "jobs", "uv", "run", "--detach"] and command[-2:] == ["job.py", "agfd30k-code.zip"]
    assert command[command.index("--secrets") + 1] == "HF_TOKEN" and "hf_write" not in printed.out + printed.err
    client = Path(sys.executable).parent / "hf"
    known = subprocess.run([client, "jobs", "uv", "run", "--help"], capture_output=True, text=True).stdout
    assert known and all(flag in known for flag in command if flag.startswith("--"))
    config = JobConfig.parse(next(n.value.value for n in tree.body if isinstance(n, ast.Assign)))
    assert config.upload == ("--repo-id", REPO, "--tag", "v2", "--append") and not hub.jobs


def test_files_that_are_written_are_all_it_takes(hub, capsys, tmp_path):
    """The code is that which is installed here, with all that it reads, and the table lies beside it."""
    table, _ = own_table(tmp_path)
    printed = run(capsys, "--spec", str(table), "--write", str(tmp_path / "job"))
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"job.py", "agfd30k-code.zip", "table.toml"}
    assert (
        printed.out.startswith(f"cd {tmp_path / 'job'} && hf jobs uv run")
        and "job.py agfd30k-code.zip table.toml" in printed.out
    )
    names = set(zipfile.ZipFile(tmp_path / "job" / "agfd30k-code.zip").namelist())
    assert {"agfd30k.py", "builder/agfd30k.toml", "dataset_card/README.md.jinja", "builder/hub/job.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "."))]


def test_a_start_hands_the_job_to_the_hub(hub, capsys, monkeypatch):
    """By the client's own calls; only bytes travel another way. The token goes as a secret, and is never shown."""
    sent = {}
    monkeypatch.setattr(
        HfApi,
        "batch_bucket_files",
        lambda self, bucket_id, add, token=None: sent.update({name: Path(path).read_bytes() for path, name in add}),
    )
    printed = run(capsys, "--repo-id", REPO, "--start", "--timeout", "90m", "--attempts", "2")
    (job,) = hub.jobs
    assert job["command"] == ["uv", "run", "/data/job.py", "/data/agfd30k-code.zip"]
    assert (job["flavor"], job["timeoutSeconds"], job["attempts"]) == ("a10g-small", 5400, 2)
    assert job["secrets"] == {"HF_TOKEN": "hf_write"} and "hf_write" not in json.dumps({**job, "secrets": None})
    assert printed.out.splitlines()[-1] == f"{hub.endpoint}/jobs/user/job-1"
    assert "hf_write" not in printed.out + printed.err and not [n for n, data in sent.items() if b"hf_write" in data]
    assert {name.rpartition("/")[2] for name in sent} == {"job.py", "agfd30k-code.zip"}


def test_a_start_that_the_hub_refuses_is_one_line(hub, capsys, monkeypatch):
    monkeypatch.setattr(HfApi, "batch_bucket_files", lambda *_, **__: None)
    hub.fault("POST /api/jobs/", status=402, message="Payment required: add credits", times=9)
    said = run(capsys, "--start", status=2).err
    assert said.splitlines()[-1] == "jobs: the job was not started: the Hub answers 402: Payment required: add credits"


# The job itself.


def job_of(tmp_path, name="job", most=None, upload=None, generate=()):
    bucket = FolderBucket(tmp_path / "buckets", most)
    return Job(JobConfig("user/build", "raw", generate, upload, every=0.2), tmp_path / name, bucket)


def test_an_attempt_goes_on_where_the_one_before_was_killed(tmp_path):
    """At whichever file: what is taken over is whole, and what is not is made again."""
    write_raw(tmp_path / "job" / "agfd30k-raw", only=["hair"], limit=40)
    job = job_of(tmp_path)
    job.send()
    files, shards = len(job.api.changed), sorted(path.name for path in (job.raw / "shards").iterdir())
    assert len(shards) == 3 and files > 40
    for most in [*range(0, files, 5), files]:
        place = tmp_path / f"killed {most}"
        place.mkdir()
        killed = job_of(place, most=most)
        killed.raw = job.raw
        if most < files:
            with pytest.raises(Killed):
                killed.send()
        else:
            killed.send()
        again = job_of(place, "again")
        again.fetch()
        there = sorted(path.name for path in (again.raw / "shards").glob("*"))
        assert {*killed.sent} <= {*there} and (len(there) == 3) == (most == files)
        if most:
            raw = RawBuild.open(again.raw)
            assert [path.name for path in raw.finished()] == there
            assert all(raw.sound_lines(again.raw / "shards" / name).made for name in there)
        again.send()
        assert not [path for path in again.api.changed if "shards" in path.parts and "raw" in path.parts]


def test_a_receipt_travels_last(tmp_path):
    write_raw(tmp_path / "job" / "agfd30k-raw", only=["hair"], limit=20)
    job = job_of(tmp_path)
    job.send()
    for shard in {path.parts[-2] for path in job.api.changed if path.name == "receipt.json"}:
        own = [path for path in job.api.changed if shard in path.parts]
        assert own[-1].name == "receipt.json" and len(own) > 3


def test_a_shard_that_was_opened_again_is_sent_again(tmp_path):
    """Duplicates go back, and their pictures go out of the bucket."""
    write_raw(tmp_path / "job" / "agfd30k-raw", only=["hair"], limit=20)
    job = job_of(tmp_path)
    job.send()
    shard = next((job.raw / "shards").iterdir())
    rows = (shard / "metadata.jsonl").read_bytes().splitlines(keepends=True)
    gone = shard / json.loads(rows[-1])["file_name"]
    gone.unlink()
    (shard / "metadata.jsonl").write_bytes(b"".join(rows[:-1]))
    assert not is_whole(shard)
    receipt = json.loads((shard / "receipt.json").read_text())
    receipt["sha256"] = hashlib.sha256(b"".join(rows[:-1])).hexdigest()
    (shard / "receipt.json").write_text(json.dumps(receipt))
    job.send()
    assert not (tmp_path / "buckets/user/build/raw/shards" / shard.name / gone.relative_to(shard)).exists()
    again = job_of(tmp_path, "again")
    again.fetch()
    assert len(list(agfd30k.read_rows(again.raw / "shards" / shard.name))) == len(rows) - 1


def test_a_hub_that_does_not_answer_for_a_while_stops_no_picture(tmp_path, monkeypatch, capsys):
    """What it has not taken is sent at the end."""
    job = job_of(tmp_path)
    write_raw(tmp_path / "made", only=["hair"], limit=10)
    make = "import shutil, sys, time; shutil.copytree(sys.argv[1], sys.argv[-3], dirs_exist_ok=True); time.sleep(1)"
    monkeypatch.setattr(job_module, "_generate_command", lambda: [sys.executable, "-c", make, str(tmp_path / "made")])
    monkeypatch.setattr(retry, "TRIES", 1)
    send, tries = job.api.sync_bucket, []

    def fail_at_first(*arguments, **options):
        tries.append(arguments)
        if 1 < len(tries) < 4:
            raise ConnectionError("no answer")
        return send(*arguments, **options)

    job.api.sync_bucket = fail_at_first
    assert job.run() == 0
    assert "not sent yet: no answer (ConnectionError" in capsys.readouterr().err
    assert list((tmp_path / "buckets/user/build/raw/shards").glob("*/receipt.json"))


def response(status):
    return httpx2.Response(status, request=httpx2.Request("POST", "http://127.0.0.1/"))


def test_a_shard_that_cannot_be_sent_keeps_no_other_back(tmp_path, monkeypatch):
    """A batch that was refused is tried again, and what fails all the same is told when all others are sent."""
    write_raw(tmp_path / "job" / "agfd30k-raw", only=["hair"], limit=40)
    job, tries = job_of(tmp_path), []
    monkeypatch.setattr(retry, "TRIES", 2)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    send, first, second, third = job.api.sync_bucket, *sorted(p.name for p in (job.raw / "shards").iterdir())

    def refuse(source, dest, **options):
        tries.append(Path(source).name)
        if tries[-1] == first:
            raise BucketBatchError("1 of 9 operations", response=response(200))
        if tries[-1] == second:
            (Path(source) / "receipt.json").unlink(missing_ok=True)
            raise FileNotFoundError(source)
        return send(source, dest, **options)

    job.api.sync_bucket = refuse
    with pytest.raises(BucketBatchError):
        job.send()
    assert tries == [first, first, second, third, third] and {*job.sent} == {third}


def test_a_shard_whose_file_is_lost_is_not_passed_over(tmp_path):
    """Only one that was opened again, and so has no receipt, or another, is left for later."""
    write_raw(tmp_path / "job" / "agfd30k-raw", only=["hair"], limit=10)
    job = job_of(tmp_path)

    def lose(source, dest, **options):
        raise FileNotFoundError(source)

    job.api.sync_bucket = lose
    with pytest.raises(FileNotFoundError):
        job.send()


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{}\n")], ids=["lost", "changed"])
def test_a_shard_without_its_rejected_tries_is_not_whole(tmp_path, spoil):
    write_raw(tmp_path / "raw", only=["hair"], limit=10)
    shard = next((tmp_path / "raw" / "shards").iterdir())
    assert is_whole(shard)
    spoil(shard / "rejected.jsonl")
    assert not is_whole(shard)


def test_a_client_without_buckets_is_one_line(hub, capsys, monkeypatch):
    monkeypatch.delattr(HfApi, "list_bucket_tree")
    said = run(capsys, status=2).err.splitlines()
    assert said == ["jobs: agfd30k jobs needs huggingface_hub 2.4 or later: pip install -U huggingface_hub"]


def test_a_client_from_before_buckets_can_be_imported():
    code = "import huggingface_hub.hf_api, huggingface_hub.errors as e; del e.BucketNotFoundError; "
    code += "import builder.hub.jobs"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.process
def test_a_job_that_is_ended_ends_its_command_and_sends_what_is_finished(tmp_path):
    """As the Hub ends it: SIGTERM, which the builder obeys after the batch that it is at."""
    write_raw(tmp_path / "made", only=["hair"], limit=10)
    make = (
        "import shutil, signal, sys, time; shutil.copytree(sys.argv[1], sys.argv[-3], dirs_exist_ok=True)\n"
        "signal.signal(15, lambda *_: sys.exit(143)); print('made', flush=True); time.sleep(60)"
    )
    code = f"""
import sys
from pathlib import Path
from builder.hub import job
from tests.fixtures.bucket import FolderBucket
job._generate_command = lambda: [sys.executable, "-c", {make!r}, {str(tmp_path / "made")!r}]
config = job.JobConfig("user/build", "raw", (), ("--repo-id", "user/x"), every=60)
sys.exit(job.Job(config, Path({str(tmp_path / "job")!r}), FolderBucket({str(tmp_path / "buckets")!r})).run())
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        while process.stdout.readline() != "made\n":
            pass
        process.terminate()
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 143 and "1 finished shards are in" in output
    assert list((tmp_path / "buckets/user/build/raw/shards").glob("*/receipt.json"))


def test_what_fails_ends_the_job_with_its_status(tmp_path, monkeypatch):
    """And nothing is published."""
    monkeypatch.setattr(job_module, "_generate_command", lambda: [sys.executable, "-c", "raise SystemExit(3)"])
    assert job_of(tmp_path, upload=("--repo-id", REPO)).run() == 3


@pytest.mark.process
def test_the_script_makes_and_publishes_a_build(hub, capsys, tmp_path):
    """As it stands: its own code from the archive, pictures of the preview model, the bucket, and the upload.

    Started again it makes no picture, and has nothing to send.
    """
    wants = [
        "--model",
        "preview",
        "--only",
        "occlusion/only_mask",
        "--limit",
        "4",
        "--allow-preview",
        "--allow-incomplete",
    ]
    run(capsys, *wants, "--repo-id", REPO, "--write", str(tmp_path / "job"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(STAND_IN)
    root = Path(__file__).parents[2]
    outputs = []
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        paths = os.pathsep.join([str(tmp_path / "site"), str(root)])
        environment = {**hub.environment(tmp_path / "home", "hf_write"), "BUCKET_FOLDER": str(tmp_path / "buckets")}
        script = (tmp_path / "job" / "job.py").read_text()
        kept = script.replace(
            'os.path.abspath("agfd30k-code")', f'os.path.abspath("agfd30k-code") + {os.pathsep + paths!r}'
        )
        (tmp_path / place / "job.py").write_text(kept)
        command = [sys.executable, "job.py", str(tmp_path / "job" / "agfd30k-code.zip")]
        environment["PYTHONPATH"] = paths
        done = subprocess.run(command, cwd=tmp_path / place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
        outputs.append(done.stdout + done.stderr)
    assert f"datasets/{REPO}" in outputs[0] and "1 finished shards are in hf://buckets/user/build/raw" in outputs[0]
    assert "1 finished shards are fetched" in outputs[1] and "0 to send, 0 bytes" in outputs[1]
    assert len(hub.commits(REPO)) == 2
    assert (tmp_path / "buckets/user/build/raw" / FILE).exists()
    assert len(list((tmp_path / "buckets/user/build/raw/shards").glob("*/images/*"))) == 4
