"""A build in a store, worked at from several machines: who wins a shard, what is fetched, and what a kill leaves."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from builder import release, verify
from builder.common.address import Address, Place
from builder.common.errors import UserError
from builder.generation import object_store
from builder.generation.process import Rank
from builder.plan.plan import Plan
from builder.raw.build import RawBuild
from builder.raw.notes import Loser
from builder.raw.receipts import receipt
from builder.storage import parts, releases
from builder.storage.build import StoredBuild
from builder.storage.shard_copy import Copy
from builder.storage.store import Store
from builder.storage.transfer import Transfer
from builder.storage.workspace import become, stored_recipe
from tests.fixtures import builds
from tests.fixtures.stores import machine

PLAN = Plan(builds.SPEC, only=["occlusion"], limit=24, shard_size=16)
FEW = Plan(builds.SPEC, only=["occlusion"], limit=8, shard_size=16)
FIRST = PLAN.shards[0]
RECIPE = builds.recipe_of(builds.SPEC, toml=builds.small_table().read_text(encoding="utf-8"))


@pytest.fixture
def there(s3, bucket, tmp_path):
    """Machines that work at one address: `there.on(name)` is one, `there.build(name)` the build as it sees it."""
    address = Address("s3", f"{bucket}/faces")
    with machine(tmp_path, s3):
        files = s3.driver or Store(address).files  # to make one takes longer than most tests
        s3.driver = files

    def on(name):
        return machine(tmp_path / name, s3)

    def build(name):
        with on(name):
            folder = address.workspace
            become(folder, RECIPE)
            stored = StoredBuild(folder, RECIPE, Store(address, files))
            RawBuild.begin(folder, RECIPE)
            stored.publish_recipe()
            stored.note_asked(PLAN)
            stored.catalog.refresh(now=True)
            return stored

    def objects(kind=""):
        names = s3.objects(bucket).items()
        return {name.removeprefix("faces/"): tag for name, tag in names if f"/{kind}" in name}

    return SimpleNamespace(on=on, build=build, address=address, s3=s3, bucket=bucket, objects=objects)


def make(build, shard=FIRST, plan=PLAN, **options):
    """Make a shard in a workspace, as a worker does, and send it."""
    build.prepare(shard)
    builds.write_shard(build.folder, plan, shard, recipe=build.recipe, **options)
    return lambda: (build.deliver(shard), build.wait_for_deliveries(), build.catalog.refresh(now=True))


def files(folder):
    """All of a build that is not a machine's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def test_what_one_machine_makes_another_fetches_byte_for_byte(there):
    one, two = there.build("one"), there.build("two")
    for shard in PLAN.shards:
        make(one, shard)()
    assert not two.is_done(PLAN, FIRST)
    with there.on("two"):
        two.fetch()
    assert all(two.is_done(PLAN, shard) for shard in PLAN.shards)
    assert files(two.folder) == files(one.folder) and len(files(two.folder)) > 20
    assert len(there.objects("parts")) == len(there.objects("receipts")) == len(PLAN.shards)


def test_a_shard_is_in_the_store_only_once_its_part_is(there, monkeypatch):
    """A kill between the two leaves a part that no receipt names; the next try sends the same again."""
    one = there.build("one")
    send = make(one)
    create = one.store.create
    monkeypatch.setattr(one.store, "create", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        send()
    assert there.objects("parts") and not there.objects("receipts") and not one.is_done(PLAN, FIRST)
    before = there.objects("parts")
    monkeypatch.setattr(one.store, "create", create)
    one.prepare(FIRST)  # whoever opens it next finds it finished, and sends it
    one.catalog.refresh(now=True)
    assert there.objects("parts") == before and len(there.objects("receipts")) == 1 and one.is_done(PLAN, FIRST)


def test_the_first_receipt_counts_and_a_zombies_late_write_is_refused(there):
    """However late it comes, and whatever it holds; the zombie takes what is there."""
    zombie, rival = there.build("zombie"), there.build("rival")
    late = make(zombie, finish=True)
    zombie_digest = receipt(zombie.shard_folder(FIRST)).digest
    make(rival, plan=FEW)()  # another choice of pictures
    won = there.objects("receipts")
    assert receipt(rival.shard_folder(FIRST)).digest != zombie_digest
    late()
    assert there.objects("receipts") == won and not Copy(zombie.shard_folder(FIRST)).receipt
    with there.on("zombie"):
        zombie.fetch()
    assert files(zombie.shard_folder(FIRST)) == files(rival.shard_folder(FIRST))


def test_two_that_made_the_same_have_both_made_it(there):
    one, two = there.build("one"), there.build("two")
    send_one, send_two = make(one), make(two)
    send_one()
    before = there.objects()
    send_two()
    assert there.objects() == before and Copy(two.shard_folder(FIRST)).is_sent


def test_who_asks_for_more_goes_on_with_what_is_there(there):
    """The shard is fetched whole, made longer, and becomes the next revision; own unfinished work gives way."""
    one, two = there.build("one"), there.build("two")
    two.prepare(FIRST)
    builds.write_shard(two.folder, PLAN, FIRST, batches=2, finish=False, recipe=RECIPE)
    make(one, plan=FEW)()
    made = files(one.shard_folder(FIRST))
    two.catalog.refresh(now=True)
    assert two.is_done(FEW, FIRST) and not two.is_done(PLAN, FIRST)
    make(two)()
    assert two.is_done(PLAN, FIRST) and len(there.objects("receipts")) == 2
    pictures = {name: data for name, data in made.items() if name.startswith("images")}
    assert pictures.items() < files(two.shard_folder(FIRST)).items()
    with there.on("one"):
        one.fetch()
    assert files(one.shard_folder(FIRST)) == files(two.shard_folder(FIRST))


@pytest.mark.parametrize("after", range(6))
def test_a_kill_while_a_shard_is_fetched_leaves_nothing_half(there, monkeypatch, after):
    """Whichever picture was the last to be written, the next look finds the shard unfinished and fetches it anew."""
    one, two = there.build("one"), there.build("two")
    make(one)()
    two.catalog.refresh(now=True)
    builds.write_shard(two.folder, PLAN, FIRST, batches=1, finish=False, recipe=RECIPE)
    write, left = parts._write_picture, iter(range(after))

    def dying(*arguments):
        next(left)
        write(*arguments)

    monkeypatch.setattr(parts, "_write_picture", dying)
    with pytest.raises((StopIteration, RuntimeError)):
        two.prepare(FIRST)
    monkeypatch.setattr(parts, "_write_picture", write)
    assert Copy(two.shard_folder(FIRST)).receipt is None and receipt(two.shard_folder(FIRST)) is None
    again = there.build("two")
    again.prepare(FIRST)
    assert files(again.shard_folder(FIRST)) == files(one.shard_folder(FIRST))


def test_lines_are_fetched_without_pictures_and_only_once(there):
    one, two = there.build("one"), there.build("two")
    for shard in PLAN.shards:
        make(one, shard)()
    two.catalog.refresh(now=True)
    lines, finished = two.all_lines()
    assert finished.digest == two.catalog.digest() == one.finished().digest
    assert [*lines.sound_lines(lines.shard_folder(FIRST)).made] == [*one.sound_lines(one.shard_folder(FIRST)).made]
    assert not any(path.is_file() for path in lines.folder.glob("shards/*/images/*"))
    two.store.files = None  # nothing more is asked for
    assert two.all_lines()[1] == finished


def test_a_damaged_part_is_told_in_a_line_and_taken_for_nothing(there):
    one, two = there.build("one"), there.build("two")
    make(one)()
    (name,) = there.objects("parts")
    data = there.s3.read(there.bucket, f"faces/{name}")
    for spoilt in (data[:-1], data[:100] + b"x" + data[101:], b"", b"PAR1"):
        there.s3.write(there.bucket, f"faces/{name}", spoilt)
        with there.on("two"), pytest.raises(UserError, match=f"s3://{there.bucket}/faces/parts/.*damaged") as error:
            two.fetch()
        assert "\n" not in str(error.value) and not Copy(two.shard_folder(FIRST)).receipt
        shutil.rmtree(two.folder / ".store" / "lines", ignore_errors=True)
        if spoilt != data[:100] + b"x" + data[101:]:
            with pytest.raises(UserError):
                two.all_lines()
    there.s3.remove(there.bucket, f"faces/{name}")
    with there.on("two"), pytest.raises(UserError, match="is not there any more, and a receipt names it"):
        two.fetch()


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"receipt": {}, "part": {}, "digest": ""}'])
def test_a_damaged_receipt_is_told_in_a_line(there, data):
    one = there.build("one")
    there.s3.write(there.bucket, f"faces/receipts/{FIRST.name}-0001.json", data)
    with pytest.raises(UserError, match=f"receipts/{FIRST.name}-0001.json: damaged"):
        one.catalog.refresh(now=True)


def test_a_workspace_is_a_cache(there):
    """Removed, it is filled anew; of another recipe, it is emptied; what the store has lost is sent again."""
    one = there.build("one")
    make(one)()
    made = files(one.shard_folder(FIRST))
    shutil.rmtree(one.folder)
    again = there.build("one")
    with there.on("one"):
        again.fetch()
    assert files(again.shard_folder(FIRST)) == made
    for name in there.objects():
        there.s3.remove(there.bucket, f"faces/{name}")
    anew = there.build("one")
    assert not anew.is_done(PLAN, FIRST)
    anew.prepare(FIRST)
    anew.catalog.refresh(now=True)
    assert anew.is_done(PLAN, FIRST) and len(there.objects("receipts")) == 1
    other = builds.recipe_of(builds.SPEC, toml=RECIPE.toml, image_format="jpg")
    become(anew.folder, other)
    assert not (anew.folder / "shards").exists() and RawBuild.open(anew.folder).fingerprint == other.fingerprint


def test_what_another_recipe_made_here_and_did_not_send_is_moved_aside(there, capsys):
    one = there.build("one")
    make(one)  # finished, and not sent
    made = files(one.shard_folder(FIRST))
    become(one.folder, builds.recipe_of(builds.SPEC, toml=RECIPE.toml, image_format="jpg"))
    (aside,) = one.folder.glob("shards-*")
    assert files(aside / FIRST.name) == made and f"{aside}: what another recipe" in capsys.readouterr().err
    with one.writer(PLAN, FIRST), pytest.raises(UserError, match="another process is making pictures"):
        become(one.folder, RECIPE)


def test_a_part_that_is_damaged_is_made_again_once_it_and_its_receipt_are_removed(there):
    """The part has the same name again: before it is removed, nothing is taken for it."""
    one, two = there.build("one"), there.build("two")
    make(one)()
    (part,), (facts,) = there.objects("parts"), there.objects("receipts")
    data = there.s3.read(there.bucket, f"faces/{part}")
    there.s3.write(there.bucket, f"faces/{part}", data[:100] + b"x" + data[101:])
    there.s3.remove(there.bucket, f"faces/{facts}")
    two.catalog.refresh(now=True)
    with pytest.raises(UserError, match=f"{part}: something else lies there, or it is damaged: remove it"):
        make(two)()
    there.s3.remove(there.bucket, f"faces/{part}")
    make(two)()
    assert there.s3.read(there.bucket, f"faces/{part}") == data and two.is_done(PLAN, FIRST)


def test_a_licence_is_taken_over(there):
    one = there.build("one")
    spec = builds.SPEC.changed(license="cc0-1.0")
    other = builds.recipe_of(spec, toml=RECIPE.toml)
    assert other.fingerprint == RECIPE.fingerprint and other.document() != RECIPE.document()
    StoredBuild(one.folder, other, one.store).publish_recipe()
    assert stored_recipe(one.store).spec.license == "cc0-1.0"


def test_a_revision_that_is_finished_here_and_was_not_sent_is_sent_not_dropped(there):
    one = there.build("one")
    make(one, plan=FEW)()
    make(one)  # more of the same shard, not sent
    made = files(one.shard_folder(FIRST))
    with there.on("one"):
        one.fetch()
    assert files(one.shard_folder(FIRST)) == made and one.catalog.revision(FIRST.name) == 2


def test_another_recipe_at_the_address_is_refused(there):
    there.build("one")
    other = builds.recipe_of(builds.SPEC, toml=RECIPE.toml, image_format="jpg")
    with there.on("two"):
        stored = StoredBuild(there.address.workspace, other, Store(there.address))
        with pytest.raises(UserError, match=r'made by another recipe \(settings.image_format: "png" there, "jpg" here'):
            stored.publish_recipe()


def test_what_goes_back_is_decided_once_and_carried_out_as_the_next_revision(there):
    """Whoever decides second finds the first decision, and a shard that is a revision further is done with it."""
    one, two = there.build("one"), there.build("two")
    for shard in PLAN.shards:
        make(one, shard)()
    two.catalog.refresh(now=True)
    rows = one.sound_lines(one.shard_folder(FIRST)).made
    digest = one.catalog.digest()

    def losers(number):
        row = rows[number]
        loser = Loser(attempt=row["attempt"], reason="duplicate", detail="of another")
        return {FIRST.name: {row["id"]: loser.model_dump()}}

    one.catalog.note_decision(digest, losers(0))
    two.catalog.note_decision(digest, losers(1))
    assert two.losers(FIRST) == {} and not two.is_done(PLAN, FIRST)
    two.prepare(FIRST)
    assert [*two.losers(FIRST)] == [*one.losers(FIRST)] == [rows[0]["id"]]
    Copy(two.shard_folder(FIRST)).note_open()
    assert not Copy(two.shard_folder(FIRST)).is_sent  # whatever it holds now, it is a new revision
    two.prepare(FIRST)
    two.catalog.refresh(now=True)
    assert two.is_done(PLAN, FIRST) and two.losers(FIRST) == {} and not two.catalog.undone()


def test_a_search_is_noted_for_what_it_was_made_of(there):
    one = there.build("one")
    make(one)()
    digest = one.catalog.digest()
    one.catalog.note_searched(digest, twins=False)
    two = there.build("two")
    assert two.catalog.is_searched(digest, twins=False) and not two.catalog.is_searched(digest, twins=True)
    one.catalog.note_searched(digest, twins=True)
    two.catalog.refresh(now=True)
    assert two.catalog.is_searched(digest, twins=True)
    make(one, PLAN.shards[1])()
    assert not one.catalog.is_searched(one.catalog.digest(), twins=False)


def test_release_and_verify_take_an_address(there, tmp_path, capsys, monkeypatch):
    one = there.build("one")
    for shard in PLAN.shards:
        make(one, shard)()
    address = str(there.address)
    with there.on("two"):
        assert release.main(["--raw", address, "--out", str(tmp_path / "out")]) == 2
        assert f"{address}: duplicates have not been looked for" in capsys.readouterr().err
        one.catalog.note_searched(one.catalog.digest(), twins=False)
        assert release.main(["--raw", address, "--out", str(tmp_path / "out")]) == 0
        assert verify.main([address]) == 0
        assert verify.main([address, "--repair"]) == 2
        said = capsys.readouterr()
        assert "--repair: nothing in a store is ever changed" in said.err
        (name, *_) = there.objects("parts")
        data = there.s3.read(there.bucket, f"faces/{name}")
        there.s3.write(there.bucket, f"faces/{name}", data[:100] + b"x" + data[101:])
        assert verify.main([address]) == 1  # whatever the workspace holds
        assert f"{address}/{name}: damaged" in capsys.readouterr().out
        there.s3.remove(there.bucket, f"faces/{name}")
        assert verify.main([address]) == 1
        assert f"{address}/{name}: is not there any more, and a receipt names it" in capsys.readouterr().out
    assert (tmp_path / "out" / "README.md").exists()


def test_what_is_finished_here_and_not_in_the_store_is_not_released(there):
    one = there.build("one")
    make(one)()
    one.prepare(PLAN.shards[1])
    builds.write_shard(one.folder, PLAN, PLAN.shards[1], recipe=RECIPE)
    with there.on("one"):
        one.fetch()
    assert [folder.name for folder in RawBuild.open(one.folder).finished()] == [FIRST.name]
    make(one, PLAN.shards[1])()
    assert one.is_done(PLAN, PLAN.shards[1])


def test_no_build_at_an_address_is_told_in_a_line(there, tmp_path, capsys):
    with there.on("one"):
        assert release.main(["--raw", str(there.address)]) == 2
    assert f"release: {there.address}: no raw build here (no recipe.json)" in capsys.readouterr().err


def test_errors_name_the_address_not_the_workspace(there):
    with there.on("one"):
        place = Place.parse(str(there.address))
        with pytest.raises(UserError, match=f"^{there.address}: 3 shards"), place.naming():
            raise UserError(f"{place.folder}: 3 shards are not done")


def test_fetching_says_how_it_goes():
    fetching = Transfer(Address("s3", "bucket/x"), 4_000_000, 4)
    fetching.bar = SimpleNamespace(update=lambda size: None)
    fetching.add(1_000_000)
    assert fetching.line().startswith("fetching: 1 of 4 files, ") and fetching.line().endswith(" left")


def test_what_lies_in_the_store_is_what_the_docs_say(there):
    one = there.build("one")
    make(one)()
    (part,) = there.objects("parts")
    stored = json.loads(there.s3.read(there.bucket, f"faces/receipts/{FIRST.name}-0001.json"))
    assert part == f"parts/{FIRST.name}-{stored['part']['sha256'][:32]}.parquet"
    local = json.loads((one.shard_folder(FIRST) / "receipt.json").read_bytes())
    assert stored["receipt"] == local
    assert {name.partition("/")[0] for name in there.objects()} == {"recipe.json", "asked.json", "parts", "receipts"}


def test_where_a_store_puts_whatever_it_is_given_the_receipt_that_lies_there_counts(there, monkeypatch):
    """As on the Hub's buckets: two look at the same moment, and both put; the first finds out, and takes the other."""
    one, two = there.build("one"), there.build("two")
    for each in (one, two):
        each.store.can_create = False
    send_one, send_two = make(one), make(two, plan=FEW)
    send_one()
    assert Copy(one.shard_folder(FIRST)).is_sent
    exists = two.store.files.exists
    monkeypatch.setattr(two.store.files, "exists", lambda path: "receipts" not in path and exists(path))
    two.catalog.newest.clear()
    send_two()
    one.catalog.refresh(now=True)
    assert len(there.objects("receipts")) == 1 and not one.is_done(PLAN, FIRST) and one.is_done(FEW, FIRST)
    one.prepare(FIRST)
    assert files(one.shard_folder(FIRST)) == files(two.shard_folder(FIRST))


def test_a_release_is_put_at_an_address_once_its_card_last(there, tmp_path, monkeypatch):
    """After a stop it goes on; another release is never written over it."""
    for name in ("README.md", "data/a.parquet", "data/b.parquet", "metadata/a.parquet"):
        (tmp_path / "agfd30k" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "agfd30k" / name).write_text(f"this is {name}")
    address = Address("s3", f"{there.bucket}/releases/agfd30k")
    create_file, left = Store.create_file, iter(range(2))

    def dying(store, name, path):
        next(left)
        create_file(store, name, path)

    with there.on("one"):
        with monkeypatch.context() as patch:
            patch.setattr(Store, "create_file", dying)
            with pytest.raises((StopIteration, RuntimeError)):
                releases.put(tmp_path / "agfd30k", address)
        begun = there.s3.objects(there.bucket)
        assert len(begun) == 3 and "releases/agfd30k/README.md" not in begun
        assert releases.put(tmp_path / "agfd30k", address) == releases.put(tmp_path / "agfd30k", address) == 4
        whole = there.s3.objects(there.bucket)
        assert begun.items() < whole.items() and len(whole) == 5
        (tmp_path / "agfd30k" / "data" / "a.parquet").write_text("another one of the same length"[:22])
        for place, says in ((address, "SHA256SUMS"), (Address("s3", f"{there.bucket}/releases"), "agfd30k/")):
            with pytest.raises(UserError, match=rf"{place}: something else is there \({says}"):
                releases.put(tmp_path / "agfd30k", place)
        assert there.s3.objects(there.bucket) == whole
    assert there.s3.read(there.bucket, "releases/agfd30k/data/a.parquet") == b"this is data/a.parquet"


def test_release_takes_an_address_to_go_to(there, tmp_path, capsys):
    builds.write_raw(tmp_path / "raw", only=["occlusion"], limit=4)
    with there.on("one"):
        out = f"s3://{there.bucket}/releases/agfd30k"
        assert release.main(["--raw", str(tmp_path / "raw"), "--out", out]) == 0
        assert f"files are in {out}" in capsys.readouterr().out
    card = there.s3.read(there.bucket, "releases/agfd30k/README.md").decode()
    assert 'load_dataset("agfd30k", "occlusion")' in card


def test_machines_without_a_number_begin_at_different_shards_and_with_what_they_have_begun(there, monkeypatch):
    plan = Plan(builds.SPEC, only=["occlusion"], scale=0.2, shard_size=8)
    firsts, rank = set(), Rank(0, 1, torch.device("cpu"))
    for name in "abcdef":
        monkeypatch.setattr(object_store.socket, "gethostname", lambda name=name: name)
        place = object_store.ObjectStore(there.address, there.address.workspace, plan, rank, None)
        place.there, place.raw = RECIPE, there.build(name)
        order = list(place.order())
        assert sorted(shard.name for shard in order) == sorted(shard.name for shard in plan.shards)
        firsts.add(order[0].name)
    assert len(firsts) > 1
    begun = order[-3]
    (place.raw.shard_folder(begun)).mkdir(parents=True)
    (place.raw.shard_folder(begun) / "metadata.jsonl").touch()
    assert next(place.order()) == begun
