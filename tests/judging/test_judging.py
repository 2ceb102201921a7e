"""What people say of a picture is asked without hints, and kept: nothing that was pressed is lost or doubled."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from builder import judge
from builder.common.errors import UserError
from builder.dataset import packing
from builder.judging import judgements, questions
from builder.judging import pictures as judging_pictures
from builder.judging import server as judging_server
from builder.judging.judgements import Judgement
from builder.judging.questions import choose, words
from builder.raw.build import RawBuild
from builder.spec import table
from builder.spec.faults import SpecError
from tests.fixtures import browser, builds
from tests.fixtures.builds import own_table, write_raw

KINDS = ("raw", "out")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A raw build and its release, side by side."""
    path = tmp_path_factory.mktemp("judged")
    toml, spec = own_table(path)
    write_raw(path / "raw", spec, toml.read_text())
    packing.pack(RawBuild.open(path / "raw"), path / "out")
    return path


@pytest.fixture
def serve(folder, tmp_path):
    """Starts a page as the command does, in this process; `out` is where it writes."""
    servers = []

    def start(each=50, features=(), kind="raw", out=tmp_path / "judgements.jsonl", who="ana"):
        pictures = judging_pictures.load(folder / kind)
        session = judge._session(pictures, out, who, features, each, 0)
        servers.append(judging_server.Server(session, pictures))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return Client(servers[-1], out)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Client:
    """Talks to a page as a browser would."""

    def __init__(self, server, out):
        self.server, self.out, self.address = server, out, server.address

    def __call__(self, path, told=None, address=None, **headers):
        """The answer's body; raises HTTPError for a refusal."""
        data = None if told is None else json.dumps(told).encode()
        asked = urllib.request.Request((address or self.address) + path, data, headers)
        with urllib.request.urlopen(asked, timeout=20) as reply:
            self.headers = reply.headers
            return reply.read()

    def refusal(self, *args, **headers):
        with pytest.raises(urllib.error.HTTPError) as caught:
            self(*args, **headers)
        return caught.value.code

    def state(self):
        return json.loads(self("question"))

    def press(self, answer):
        told = {"number": self.state()["number"], "answer": answer}
        return json.loads(self("undo", {}) if answer == "undo" else self("answer", told))

    def lines(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def about(self, number):
        asked = self.server.session.questions[number]
        return asked.entry.id, asked.feature


# What is asked.


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_feature_as_many_as_asked_and_twice_as_many_others(folder, kind):
    """Each once, in an order that a seed fixes and another seed changes."""
    entries = list(judging_pictures.load(folder / kind).entries())
    found = choose(entries, ("banana", "tea"), 7, 0)
    asked = [(question.entry.id, question.feature) for question in found]
    assert len(set(asked)) == len(asked) == 42
    for feature in ("banana", "tea"):
        own = [question.entry.feature == feature for question in found if question.feature == feature]
        assert (own.count(True), own.count(False)) == (7, 14)
    assert found == choose(reversed(entries), ("banana", "tea"), 7, 0) != choose(entries, ("banana", "tea"), 7, 1)


def test_raw_build_and_release_ask_the_same(folder):
    """An entry says the same of a picture in both, and its picture is the same file."""
    raw, out = (judging_pictures.load(folder / kind) for kind in KINDS)
    ours, theirs = ({entry.id: entry for entry in one.entries()} for one in (raw, out))
    assert ours.keys() == theirs.keys() and len(ours) == 40
    for id, entry in ours.items():
        other = theirs[id]
        assert vars(entry) | {"place": 0} == vars(other) | {"place": 0}
        assert raw.picture(entry) == out.picture(other)


def test_the_order_does_not_tell_which_were_asked_for(folder):
    """Both kinds are spread alike: over many seeds, each place of the order has an own picture in one of three."""
    entries, places = list(judging_pictures.load(folder / "raw").entries()), Counter()
    for seed in range(300):
        found = choose(entries, ("banana", "tea"), 10, seed)
        places.update(place for place, asked in enumerate(found) if asked.entry.feature == asked.feature)
    assert all(60 < places[place] < 140 for place in range(60))  # 100 expected, 5 standard deviations are 41


def test_a_judge_who_stops_early_has_asked_about_every_feature_alike(folder):
    """The interval of a feature with fewer answers would be wider; the difference is never more than one."""
    found = choose(judging_pictures.load(folder / "raw").entries(), ("banana", "tea"), 10, 0)
    for stop in range(61):
        counts = Counter(question.feature for question in found[:stop])
        assert abs(counts["banana"] - counts["tea"]) <= 1


def test_what_was_answered_first_is_a_random_sample_of_either_kind(folder):
    """Every picture is among the first third of the questions equally often, or the estimates would be of others."""
    entries, counts = list(judging_pictures.load(folder / "raw").entries()), Counter()
    for seed in range(400):
        some = choose(entries, ("banana", "tea"), 5, seed)[:10]
        counts.update((asked.entry.id, asked.feature) for asked in some)
    for own in (True, False):
        those = [counts[e.id, f] for e in entries for f in ("banana", "tea") if (e.feature == f) == own]
        mean = sum(those) / len(those)
        assert all(abs(count - mean) < 5 * mean**0.5 for count in those)


def test_a_feature_that_no_picture_was_asked_for_is_left_out(folder):
    entries = [entry for entry in judging_pictures.load(folder / "raw").entries() if entry.feature == "tea"]
    assert {question.feature for question in choose(entries, ("banana", "tea"), 5, 0)} == {"tea"}


def test_a_table_says_what_is_asked_and_builds_stay_what_they_are(tmp_path):
    """A question in words, on the page as it stands in the table; a build takes it over without another fingerprint."""
    path, spec = own_table(tmp_path)
    write_raw(tmp_path / "raw", spec, path.read_text())
    before = RawBuild.open(tmp_path / "raw").fingerprint
    asks = "Does this person hold a banana?"
    path.write_text(path.read_text().replace('name = "banana"\n', f'name = "banana"\nquestion = "{asks}"\n'))
    RawBuild.begin(tmp_path / "raw", builds.recipe_of(table.load(path), builds.SOURCE, path.read_text()))
    album = judging_pictures.load(tmp_path / "raw")
    (tmp_path / "j.jsonl").touch()
    assert album.fingerprint == before
    asked = choose(album.entries(), ["banana"], 1, 0)
    session = questions.Session(asked, album.spec.features, tmp_path / "j.jsonl", "ana")
    assert session.wording == {"banana": asks, "tea": "Does this picture show: tea?"}
    recipe = json.loads((tmp_path / "raw/recipe.json").read_text())
    for feature in recipe["spec"]["features"]:
        del feature["question"]  # as in builds of before there were any
    (tmp_path / "raw/recipe.json").write_text(json.dumps(recipe))
    assert judging_pictures.load(tmp_path / "raw").fingerprint == before


def test_every_feature_of_the_shipped_table_is_asked_for_in_a_sentence():
    assert all(feature.question for feature in table.load().features)
    assert len({feature.question for feature in table.load().features}) == len(table.load().features)


@pytest.mark.parametrize("question", ["Is it a banana", "", "Two\\nlines?", "x" * 200 + "?"])
def test_a_question_is_one_line_with_a_question_mark(tmp_path, question):
    path, _ = own_table(tmp_path)
    path.write_text(path.read_text().replace('name = "tea"\n', f'name = "tea"\nquestion = "{question}"\n'))
    with pytest.raises(SpecError, match="`question` must be one line that ends with a question mark"):
        table.load(path)


def test_a_feature_is_told_in_the_tables_words_without_weights(folder):
    assert [words(feature) for feature in judging_pictures.load(folder / "raw").spec.features] == [
        ["banana", "two bananas"],
        ["a cup of tea"],
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_tells_neither_what_was_asked_for_nor_the_score(serve, kind):
    """A question has a number and a feature, the same words for every picture, and nothing of its row."""
    client = serve(3, kind=kind)
    state = client.state()
    assert set(state) == {"number", "question", "words", "answered", "skipped", "of", "undo"}
    words = {
        "Does this picture show: banana?": ["banana", "two bananas"],
        "Does this picture show: tea?": ["a cup of tea"],
    }
    assert state["words"] == words[state["question"]]
    assert Image.open(io.BytesIO(client(f"picture/{state['number']}"))).size == (16, 16)
    assert client.headers["Content-Type"] == "image/png"


# What is kept.


def test_answers_are_kept_as_they_come_and_a_restart_goes_on(serve):
    """A skipped question is asked again after a restart, an answered one is not."""
    client = serve(2)
    for answer in ("yes", "skip", "no"):
        client.press(answer)
    assert [(line["id"], line["feature"], line["answer"], line["judge"]) for line in client.lines()] == [
        (*client.about(0), "yes", "ana"),
        (*client.about(2), "no", "ana"),
    ]
    assert client.state() == {**client.state(), "number": 3, "answered": 2, "skipped": 1, "of": 12}
    again = serve(2)
    assert again.state() == {**again.state(), "number": 1, "answered": 2, "skipped": 0}
    other = serve(2, who="ben")
    assert other.state()["answered"] == 0


def test_undo_takes_back_the_last_answer_or_skip_also_after_a_restart(serve):
    client = serve(2)
    for answer in ("yes", "skip", "undo", "no", "undo", "undo", "undo"):
        state = client.press(answer)
    assert (state["number"], state["undo"]) == (0, False)
    assert [line["answer"] for line in client.lines()] == ["yes", "no", "undone", "undone"]
    client.press("no")
    again = serve(2)
    assert again.press("undo")["number"] == 0
    assert judgements.standing(client.out) == {}


def test_a_key_that_was_pressed_twice_answers_once(serve):
    """An answer names its question; one to another question is not taken, and the page shows what is asked now."""
    client = serve(2)
    for _ in range(2):
        state = json.loads(client("answer", {"number": 0, "answer": "yes"}))
    assert state["number"] == 1 and len(client.lines()) == 1


def test_when_all_were_asked_there_is_no_question(serve):
    client = serve(1, ["tea"])
    assert client.press("yes")["of"] == 3
    client.press("no")
    state = client.press("no")
    assert (state["number"], state["question"], state["answered"]) == (None, None, 3)


@pytest.mark.parametrize(
    ("tail", "left"),
    [
        (b'{"id": "a", "feature": "tea", "ans', 1),
        (b'{"id": "a", "feature": "tea", "answer": "no"}', 2),
        (b"{", 1),
        (b"", 1),
    ],
)
def test_half_a_line_at_the_end_is_cut_off_and_a_whole_one_is_not(tmp_path, tail, left):
    """Only a crash leaves half a line; what a person judged is whole, with or without a line feed after it."""
    path = tmp_path / "judgements.jsonl"
    judgements.append(path, Judgement("b", "tea", True, "ana"))
    path.write_bytes(path.read_bytes() + tail)
    assert len(judgements.standing(path)) == left
    judgements.mend(path)
    judgements.append(path, Judgement("c", "tea", False, "ana"))
    assert [line.count(b"{") for line in path.read_bytes().splitlines()] == [1] * (left + 1)
    assert len(judgements.standing(path)) == left + 1


@pytest.mark.parametrize(
    "data",
    [
        b"notes without a line feed",
        b"7",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b'{"a": 1}',
        b'{"id": "a", "feature": "tea", "answer": "no"}\n\xff',
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(folder, tmp_path, capsys, monkeypatch, data):
    """The page ends in one line before anything is cut off."""
    monkeypatch.setattr(judge, "_serve", lambda *_: None)
    out = tmp_path / "notes.txt"
    out.write_bytes(data)
    assert judge.main([str(folder / "raw"), "--out", str(out), "--judge", "ana"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"judge: {out}") and "choose another --out" in said and said.count("\n") == 1
    assert out.read_bytes() == data


FULL = """
import resource, signal, sys
from pathlib import Path
from builder.judging.judgements import Judgement, append

path = Path(sys.argv[1])
append(path, Judgement("a", "tea", True))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
least, most = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for more in (0, 20):
    resource.setrlimit(resource.RLIMIT_FSIZE, (least + more, most))
    try:
        append(path, Judgement("b", "tea", True))
    except OSError:
        print("full")
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
append(path, Judgement("c", "tea", True))
"""


def test_an_answer_that_the_disk_has_no_room_for_leaves_nothing(tmp_path):
    """Neither half a line nor one that comes later: the next answer begins a line of its own."""
    path = tmp_path / "judgements.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(Path(judge.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("full\nfull\n", "")
    assert [told.id for _, told in judgements.standing(path).values()] == ["a", "c"]


ANSWERS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(["yes", "no"])))


@given(ANSWERS)
def test_the_last_answer_counts(tmp_path_factory, answers):
    """A file that was appended to, with every earlier answer taken back before another one, holds the last ones."""
    path = tmp_path_factory.mktemp("any") / "judgements.jsonl"
    path.touch()
    last = {}
    for who, id, word in answers:
        if (who, id) in last:
            judgements.append(path, Judgement(id, "tea", None, who))
        judgements.append(path, Judgement(id, "tea", word == "yes", who))
        last[who, id] = word == "yes"
    assert {about[:2]: told.shown for about, (_, told) in judgements.standing(path).items()} == last


@pytest.fixture
def other(folder, tmp_path, monkeypatch):
    """A build of the same table with the same ids, whose pictures are others."""
    shutil.copytree(folder, tmp_path / "other")
    shutil.rmtree(tmp_path / "other/raw")
    toml, spec = own_table(tmp_path / "other")
    picture_of = builds.picture_of
    monkeypatch.setattr(builds, "picture_of", lambda seed: picture_of(seed + 1))
    write_raw(tmp_path / "other/raw", spec, toml.read_text())
    return tmp_path / "other"


def test_answers_about_another_build_are_not_taken_for_this_ones(serve, other):
    """The ids are the same, the pictures are not: everything is asked, and neither disturbs the other's answers."""
    client = serve(2)
    for _ in range(8):
        client.press("yes")
    again = serve(2, kind=other / "raw")
    assert again.about(0) == client.about(0) and (again.state()["number"], again.state()["undo"]) == (0, False)
    again.press("no")
    assert [serve(2, kind=kind).state()["answered"] for kind in ("raw", "out", other / "raw")] == [8, 8, 1]


def test_a_line_without_a_digest_can_be_taken_back(serve):
    """It counts for whatever picture has the id, and undo says so in the same words."""
    client = serve(1, ["tea"])
    id, feature = client.about(1)
    client.out.write_text(json.dumps({"id": id, "feature": feature, "answer": True, "judge": "ana"}) + "\n")
    again = serve(1, ["tea"])
    assert again.state()["answered"] == 1
    assert again.press("undo")["answered"] == 0
    assert judgements.standing(client.out) == {}


def test_a_full_disk_is_told_and_the_question_stays(serve, monkeypatch, capsys):
    """On the page and in one line of the terminal; once there is room, the same key keeps the answer."""
    client = serve(1)
    with monkeypatch.context() as patch:
        patch.setattr(questions, "append", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(urllib.error.HTTPError) as caught:
            client("answer", {"number": 0, "answer": "yes"})
    told = "No space left on device: this answer is not kept; put that right and press again"
    assert (caught.value.code, caught.value.read().decode()) == (507, told)
    assert capsys.readouterr().err == f"judge: {client.out}: {told}\n"
    assert client.state()["number"] == 0 and not client.lines()
    assert client.press("yes")["number"] == 1 and len(client.lines()) == 1


# Who may ask.


def test_nothing_is_given_without_the_token(serve):
    client = serve(1)
    root = f"http://127.0.0.1:{client.server.server_port}"
    for path in ("/", "/question", "/picture/0", f"/{client.server.token[:-1]}/question", "/x/question"):
        assert client.refusal(path, address=root) == 403
    assert client.refusal("/x/answer", {"number": 0, "answer": "yes"}, address=root) == 403
    assert not client.out.read_text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_can_neither_look_nor_press(serve, headers):
    """A name that was made to point here, and a page of another origin, get nothing even with the token."""
    client = serve(1)
    assert client.refusal("question", **headers) == 403
    assert client.refusal("answer", {"number": 0, "answer": "yes"}, **headers) == 403
    assert not client.out.read_text()
    port = client.server.server_port
    assert client("question", Host=f"localhost:{port}", Origin=f"http://localhost:{port}")


@pytest.mark.parametrize(
    "path",
    [
        "picture/../../recipe.json",
        "picture/%2e%2e/recipe.json",
        "../recipe.json",
        "picture//etc/passwd",
        "picture/-1",
        "picture/99",
        "picture/٣",
        "picture/0/../1",
        "judge.html",
    ],
)
def test_an_address_is_never_a_path(serve, path):
    """Pictures have numbers; whatever else is asked for is not there."""
    client = serve(1)
    assert client.refusal(urllib.parse.quote(path, safe="/%.-")) == 404


@pytest.mark.parametrize(
    "told",
    [{"number": 0}, {"number": "0", "answer": "yes"}, {"number": 0, "answer": ["yes"]}, [], 7, {"x": "y" * 2000}],
)
def test_what_is_no_answer_is_refused(serve, told):
    client = serve(1)
    assert client.refusal("answer", told) == 400
    assert not client.out.read_text()


def test_the_page_may_load_nothing_from_elsewhere(serve):
    """Its policy lets it run its own script alone, and nobody may frame it."""
    client = serve(1)
    page = client("").decode()
    policy = client.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert f'<script nonce="{client.server.nonce}">' in page and "http" not in page.replace("http-equiv", "")


# The command.


def command(*arguments):
    return [sys.executable, "-m", "builder.judge", *map(str, arguments)]


def test_ctrl_c_ends_with_a_count(folder, tmp_path):
    out = tmp_path / "judgements.jsonl"
    whole = command(folder / "raw", "--out", out, "--each", "2", "--judge", "ana")
    environment = {**os.environ, "PYTHONPATH": str(Path(judge.__file__).parent.parent)}
    with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        address, *start = (process.stdout.readline().strip() for _ in range(5))
        data = json.dumps({"number": 0, "answer": "yes"}).encode()
        urllib.request.urlopen(address + "answer", data, timeout=20).read()
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert said.endswith(f"1 judgements added to {out}, 11 questions left\n")
    port = address.split(":")[2].partition("/")[0]
    assert f"`ssh -L {port}:127.0.0.1:{port} " in start[1]
    assert start[2] == "12 questions to answer about 2 features, 0 answered before: a minute or two at 3 seconds each"
    assert (process.returncode, errors) == (0, "")


def test_of_a_build_that_goes_on_it_says_what_is_sampled(serve, folder, tmp_path):
    """Pictures that are made later had no chance to be asked about."""
    assert not any("shards are not done" in line for line in judge._start(serve(2).server))
    shutil.copytree(folder / "raw", tmp_path / "raw")
    next((tmp_path / "raw").glob("shards/*/receipt.json")).unlink()
    said = list(judge._start(serve(2, kind=tmp_path / "raw", out=tmp_path / "other.jsonl").server))
    assert any(line.startswith("1 shards are not done: a sample of what there is now") for line in said)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "judge: nowhere: neither a raw build nor a release; make one with"),
        (["raw", "--feature", "coffee"], "judge: --feature must be one of banana, tea, got 'coffee'"),
        (["raw", "--each", "0"], "judge: --each: must be a whole number, 1 or more, got '0'"),
        (["raw", "--judge", " "], "judge: --judge must be a name, got nothing"),
        (["raw", "--port", "70000"], "judge: --port: must be a whole number from 0 to 65,535, got '70000'"),
        (["raw", "--out", "broken.jsonl"], "judge: broken.jsonl, line 1: not a JSON object"),
        (["raw", "--out", "."], "judge: [Errno 21] Is a directory: '.'"),
    ],
)
def test_what_a_user_can_put_right_is_one_line(folder, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jsonl").write_text("[]\n")
    arguments = [str(folder / "raw") if word == "raw" else word for word in arguments]
    assert judge.main(arguments) == 2
    written = capsys.readouterr()
    assert written.err.startswith(says) and written.err.count("\n") == 1 and written.out == ""


@pytest.mark.parametrize("error", [KeyError("uid not found: 12345"), OSError("No username set in the environment")])
def test_without_a_login_name_it_asks_for_one(folder, tmp_path, monkeypatch, capsys, error):
    def nobody():
        raise error

    monkeypatch.setattr(judge.getpass, "getuser", nobody)
    assert judge.main([str(folder / "raw"), "--out", str(tmp_path / "j.jsonl")]) == 2
    assert capsys.readouterr().err == "judge: this system has no login name for you: say who judges with --judge NAME\n"


def test_one_file_is_written_by_one_page(folder, tmp_path, capsys):
    """A second page would cut off what the first is just writing."""
    out = tmp_path / "j.jsonl"
    with FileLock(tmp_path / ".j.jsonl.lock"):
        assert judge.main([str(folder / "raw"), "--out", str(out)]) == 2
    said = f"judge: {out}: another page writes into it; close that one, or give another --out\n"
    assert capsys.readouterr().err == said and not out.exists()


def test_a_port_that_is_taken_is_said(serve, folder, tmp_path, capsys):
    port = serve().server.server_port
    arguments = [str(folder / "raw"), "--out", str(tmp_path / "other.jsonl"), "--port", str(port)]
    assert judge.main(arguments) == 2
    assert capsys.readouterr().err == f"judge: port {port}: Address already in use; give another --port, or none\n"


def test_a_build_without_a_picture_says_so(folder, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/recipe.json").write_bytes((folder / "raw/recipe.json").read_bytes())
    assert judge.main([str(tmp_path / "raw"), "--out", str(tmp_path / "j.jsonl")]) == 2
    assert "no such picture is committed yet" in capsys.readouterr().err


def test_a_damaged_file_is_one_line(folder, tmp_path):
    """Also where Parquet is cut short."""
    for path in (folder / "out").rglob("*"):
        target = tmp_path / "out" / path.relative_to(folder / "out")
        target.mkdir(parents=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    part = next((tmp_path / "out").glob("data/*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(UserError, match=f"{part.name}: cannot be read"):
        list(judging_pictures.load(tmp_path / "out").entries())


def test_a_card_that_is_no_text_is_one_line(folder, tmp_path):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "README.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"README.md: cannot be read"):
        judging_pictures.load(tmp_path)


# In a browser.


@pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine")
def test_the_page_says_that_an_answer_is_not_kept(serve, monkeypatch):
    """And takes the same key again."""
    client = serve(1)
    with browser.page() as page:
        page.open(client.address)
        page.wait("typeof ready !== 'undefined' && ready && !busy")
        with monkeypatch.context() as patch:
            patch.setattr(questions, "append", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
            page.press("y")
            page.wait("document.querySelector('h1').textContent.includes('this answer is not kept')")
        page.wait("!busy")
        page.press("y")
        page.wait("state.answered === 1")
    assert len(client.lines()) == 1


@pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine")
def test_keys_alone_are_enough(serve):
    """y, n, s and u do what they say, and the file holds it."""
    client = serve(2)
    with browser.page() as page:
        page.window(390, 844)
        page.open(client.address)
        for number, key in enumerate("ysnuy"):
            page.wait("typeof ready !== 'undefined' && ready && !busy")
            before = page.run("JSON.stringify(state)")
            page.press(key)
            page.wait(f"JSON.stringify(state) !== {json.dumps(before)}")
            assert page.run("document.querySelector('h1').textContent").startswith("Does this picture show: "), number
        assert page.run("document.documentElement.scrollWidth") == 390
        assert page.run("document.getElementById('count').textContent") == "2 of 12, 1 skipped"
    expected = [(0, "yes"), (2, "no"), (2, "undone"), (2, "yes")]
    assert [(line["id"], line["feature"], line["answer"]) for line in client.lines()] == [
        (*client.about(number), answer) for number, answer in expected
    ]


def test_a_row_that_was_edited_is_not_asked_about(folder, tmp_path):
    """Nor counted by calibrate: it is told, with what mends it."""
    raw = shutil.copytree(folder / "raw", tmp_path / "raw")
    path = min(raw.glob("shards/*/metadata.jsonl"))
    path.write_text(path.read_text().replace('"verified": null', '"verified": true', 1))
    with pytest.raises(UserError, match=r"metadata.jsonl, line 1: was edited"):
        list(judging_pictures.load(raw).entries())
