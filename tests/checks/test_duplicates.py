"""Duplicates: every pair is found, no two that are one stay, and the first of them does."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from builder.checks import near_pairs
from builder.checks.duplicates import HashCheck, copies, numbers, pairs, perceptual_hash
from builder.spec.criteria import Duplicates
from tests.fixtures.builds import picture_of
from tests.fixtures.photos import portrait

HASHES = st.integers(0, 2**64 - 1)


@st.composite
def crowded(draw):
    """Hashes of which many are near others: some at random, the rest made from them by turning a few bits."""
    found = draw(st.lists(HASHES, max_size=8))
    for _ in range(draw(st.integers(0, 24)) if found else 0):
        base = draw(st.sampled_from(found))
        for bit in draw(st.sets(st.integers(0, 63), max_size=6)):
            base ^= 1 << bit
        found.append(base)
    return np.array(draw(st.permutations(found)), dtype=np.uint64)


def brute_force(hashes, radius):
    """All pairs i < j within the radius, with their distance, by comparing all with all."""
    values = [int(value) for value in hashes]
    every = ((i, j, (values[i] ^ values[j]).bit_count()) for j in range(len(values)) for i in range(j))
    return sorted(pair for pair in every if pair[2] <= radius)


def listed(found):
    return list(zip(*map(np.ndarray.tolist, found)))


@settings(max_examples=150, deadline=None)
@given(hashes=crowded(), radius=st.integers(0, 16))
@example(hashes=np.array([], dtype=np.uint64), radius=2)
@example(hashes=np.array([7], dtype=np.uint64), radius=0)
@example(hashes=np.array([0, 2**64 - 1, 2**63], dtype=np.uint64), radius=1)
def test_the_pairs_are_those_of_comparing_all_with_all(hashes, radius):
    """None missing, none twice, in order, whatever the radius."""
    assert listed(pairs(hashes, radius)) == brute_force(hashes, radius)


def test_pairs_that_do_not_fit_into_memory_at_once_are_found_in_parts(monkeypatch):
    """Many identical pictures make many pairs; they are compared some at a time, even one by one."""
    hashes = np.array([5] * 40 + [6] * 3, dtype=np.uint64)
    whole = listed(pairs(hashes, 2))
    for at_once in (1, 17, 100):
        monkeypatch.setattr(near_pairs, "AT_ONCE", at_once)
        assert listed(pairs(hashes, 2)) == whole == brute_force(hashes, 2)


@st.composite
def builds(draw):
    """Hashes, their cells, and the two radii."""
    hashes = draw(crowded())
    cells = draw(st.lists(st.integers(0, 2), min_size=len(hashes), max_size=len(hashes)))
    radius = draw(st.integers(0, 6))
    return (
        hashes,
        np.array(cells, dtype=np.int64),
        Duplicates(radius=radius, radius_in_cell=draw(st.integers(radius, 8))),
    )


def near(hashes, cells, criteria, i, j):
    """By the rule: are pictures i and j one?"""
    reach = criteria.radius_in_cell if cells[i] == cells[j] else criteria.radius
    return int(hashes[i] ^ hashes[j]).bit_count() <= reach


@settings(max_examples=150, deadline=None)
@given(build=builds())
def test_what_stays_has_no_duplicates_and_what_goes_is_one_of_a_picture_that_stays(build):
    """No two that stay are one; whatever goes has an earlier one that stays, the nearest of those that the first
    picture of its hash and cell had, or that first picture itself; again the same.
    """
    hashes, cells, criteria = build
    found = copies(hashes, cells, criteria)
    gone = {copy.place for copy in found}
    stays = [n for n in range(len(hashes)) if n not in gone]
    assert not any(near(*build, i, j) for i in stays for j in stays if i < j)
    for copy in found:
        same = next(n for n in range(len(hashes)) if (hashes[n], cells[n]) == (hashes[copy.place], cells[copy.place]))
        earlier = [n for n in stays if n <= same and n < copy.place and near(*build, n, copy.place)]
        distances = {n: int(hashes[n] ^ hashes[copy.place]).bit_count() for n in earlier}
        assert copy.of in earlier and copy.distance == distances[copy.of] == min(distances.values())
    assert found == copies(hashes, cells, criteria) and [copy.place for copy in found] == sorted(gone)


@settings(max_examples=100, deadline=None)
@given(build=builds(), settled=st.integers(0, 32))
def test_what_is_settled_stays_and_makes_others_go(build, settled):
    """Pictures that cannot be made again stay, also beside each other; of the others none that stays is one of them."""
    hashes, cells, criteria = build
    gone = {copy.place for copy in copies(hashes, cells, criteria, settled)}
    stays = [n for n in range(len(hashes)) if n not in gone]
    assert stays[:settled] == list(range(min(settled, len(hashes))))
    assert not any(near(*build, i, j) for i in stays for j in stays if i < j and j >= settled)


def test_thousands_of_one_picture_take_no_longer_than_others():
    """The pairs of 40,000 equal hashes would fill 20 GB."""
    hashes, cells = np.full(40_000, 7, dtype=np.uint64), np.arange(40_000) % 64
    assert [copy.of for copy in copies(hashes, cells, Duplicates(radius=2, radius_in_cell=4))] == [0] * 39_999


@settings(max_examples=100, deadline=None)
@given(build=builds(), cut=st.integers(0, 32))
def test_what_comes_later_changes_nothing_about_what_came_first(build, cut):
    """A larger build of the same table keeps what a first look kept."""
    hashes, cells, criteria = build
    first = copies(hashes[:cut], cells[:cut], criteria)
    assert first == [copy for copy in copies(hashes, cells, criteria) if copy.place < cut]


@pytest.mark.parametrize(("distance", "same_cell", "goes"), [(2, 0, 1), (3, 0, 0), (3, 1, 1), (4, 1, 1), (5, 1, 0)])
def test_pictures_of_one_feature_and_sex_may_be_less_alike(distance, same_cell, goes):
    hashes = np.array([0, 2**distance - 1], dtype=np.uint64)
    assert len(copies(hashes, np.array([0, 1 - same_cell]), Duplicates(radius=2, radius_in_cell=4))) == goes


def test_a_twin_may_be_what_it_is_the_twin_of_and_nothing_else():
    """Two pictures, and the twin of the first: it may look like that one, not like the other."""
    hashes, cells = np.array([0, 2**10 - 1, 0], dtype=np.uint64), np.array([0, 0, 1])
    criteria = Duplicates(radius=2, radius_in_cell=2)
    assert [copy.place for copy in copies(hashes, cells, criteria)] == [2]
    assert copies(hashes, cells, criteria, twin_of=np.array([-1, -1, 0])) == []
    assert [copy.of for copy in copies(hashes[[0, 1, 1]], cells, criteria, twin_of=np.array([-1, -1, 0]))] == [1]


def test_a_twin_that_repeats_a_copy_of_its_own_picture_stays():
    """Of two twins that look like one picture, its own may."""
    hashes, cells = np.array([5, 5, 5], dtype=np.uint64), np.array([0, 1, 1])
    criteria = Duplicates(radius=2, radius_in_cell=2)
    assert [copy.place for copy in copies(hashes, cells, criteria, twin_of=np.array([-1, -1, 0]))] == [1]
    assert [copy.place for copy in copies(hashes, cells, criteria, twin_of=np.array([-1, 0, -1]))] == [2]


def test_only_a_picture_that_stays_makes_another_one_go():
    """Of a chain whose neighbours are near and whose ends are not, the first and the third stay."""
    found = copies(
        np.array([0b0, 0b11, 0b1111], dtype=np.uint64),
        np.zeros(3, dtype=np.int64),
        Duplicates(radius=2, radius_in_cell=2),
    )
    assert [(copy.place, copy.of, copy.distance) for copy in found] == [(1, 0, 2)]


def test_a_hash_is_64_bits_that_survive_its_spelling():
    texts = [perceptual_hash(picture_of(seed, 64)) for seed in range(20)]
    assert all(len(text) == 16 for text in texts)
    assert [f"{number:016x}" for number in numbers(texts).tolist()] == texts


def test_the_same_picture_in_another_file_or_size_has_a_near_hash_and_another_picture_has_not(tmp_path):
    portrait().save(tmp_path / "copy.jpg", quality=75)
    copies = [Image.open(tmp_path / "copy.jpg"), portrait().resize((256, 256))]
    own, *others = (int(perceptual_hash(image.convert("RGB")), 16) for image in (portrait(), *copies, picture_of(1)))
    distances = [(own ^ other).bit_count() for other in others]
    assert max(distances[:2]) <= 4 and distances[2] > 16


def test_the_check_notes_the_hash_and_judges_nothing():
    """Whether a picture is a duplicate is known only when all are there."""
    images = [picture_of(1), picture_of(2)]
    found = HashCheck().judge([None, None], images)
    assert [verdict.passed for verdict in found] == [None, None]
    assert [verdict.observed for verdict in found] == [{"hash": perceptual_hash(image)} for image in images]
