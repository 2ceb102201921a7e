"""Near pairs: each is found once, by sorting, in parts, in crowds; what crowds is told of, and is not left out."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.checks import duplicates, near_pairs
from builder.checks.duplicates import copies, pairs
from builder.checks.near_pairs import ALL, Search, keys, repeated
from builder.spec.criteria import Duplicates
from tests.checks.test_duplicates import brute_force, crowded, listed

CRITERIA = Duplicates(radius=2, radius_in_cell=2)


@settings(max_examples=60, deadline=None)
@given(hashes=crowded(), radius=st.integers(0, 6), data=st.data())
def test_in_parts_and_crowds_every_pair_is_found_once(hashes, radius, data):
    """Among some of the places alone, or in cells."""
    count = len(hashes)
    among = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool)
    cells = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), dtype=np.uint32)
    every = brute_force(hashes, radius)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_pairs, "PART", 5)
        patch.setattr(near_pairs, "CROWD", 3)
        found = [pair for some in Search(hashes, radius, among, cells) for pair in listed(some)]
        assert sorted(found) == [(i, j, d) for i, j, d in every if among[i] and among[j] and cells[i] == cells[j]]
        assert listed(pairs(hashes, radius)) == every


@pytest.mark.parametrize("radius", range(17))
@pytest.mark.parametrize("count", [100, 10_000, 10_000_000])
def test_any_two_that_are_near_agree_in_a_key_and_are_a_pair_of_one_alone(radius, count):
    chance, found = np.random.default_rng(radius), keys(count, radius)
    for _ in range(20):
        turned = chance.choice(64, radius, replace=False).tolist()
        differing = sum(1 << bit for bit in turned)
        own = [key for key in found if not differing & key.mask and all(differing & block for block in key.unlike)]
        assert len(own) == 1


def test_bits_that_all_may_differ_have_no_keys():
    assert keys(10, 3, free=0b111) == [] and keys(10, 2, free=0b111) and keys(10, 0)[0].mask == ALL


def test_what_stands_again_has_its_first_place(monkeypatch):
    hashes, cells = np.array([5, 3, 5, 5, 3, 5], np.uint64), np.array([0, 0, 1, 0, 0, 1])
    for part in (1, 100):
        monkeypatch.setattr(near_pairs, "PART", part)
        assert dict(zip(*map(np.ndarray.tolist, repeated(hashes, cells)))) == {3: 0, 4: 1, 5: 2}


def test_a_crowd_is_told_of_in_a_line_and_none_of_it_is_left_out(monkeypatch):
    """Hashes that share most bits are searched by the others: every one within reach of one that stays goes."""
    chance, lines = np.random.default_rng(1), []
    turned = chance.integers(0, 2**20, 20_000, dtype=np.uint64)
    hashes = sum((turned >> np.uint64(bit) & np.uint64(1)) << np.uint64(3 * bit) for bit in range(20))
    monkeypatch.setattr(duplicates, "CROWDED", 1_000)
    started = time.process_time()
    gone = {copy.place for copy in copies(hashes, np.zeros(20_000), CRITERIA, say=lines.append)}
    assert time.process_time() - started < 10
    stays = np.array([place for place in range(len(hashes)) if place not in gone])
    assert len(lines) == 1 and "were compared by the other bits, none was left out" in lines[0]
    assert len(pairs(hashes[stays], 2)[0]) == 0 and len(stays) < 15_000


def test_more_pairs_than_fit_into_memory_are_decided_on_in_parts(monkeypatch):
    """The same pictures go, and a line says so."""
    hashes, lines = np.random.default_rng(1).integers(0, 2**12, 2_000, dtype=np.uint64), []
    whole = copies(hashes, np.zeros(2_000), CRITERIA, say=lines.append)
    assert lines == []
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 500)
    assert copies(hashes, np.zeros(2_000), CRITERIA, say=lines.append) == whole
    assert lines == ["more than 500 pairs of pictures are alike; they are decided on in parts"]
