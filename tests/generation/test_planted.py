"""What is planted is found; `python tests/experiments/planted.py` does it over the whole table and prints tables."""

from tests.experiments import disobedience
from tests.fixtures import copies, reasons


def test_a_disobedient_generator_changes_nothing_but_the_number_of_tries(tmp_path):
    """Quotas and balance are the plan's, tries and precision those of arithmetic, intervals hold what they promise."""
    disobedience.run(tmp_path, "--scale", "0.02")
    assert list(disobedience.faults(tmp_path, 0.02)) == []
    hits, trials, promised = disobedience.coverage(tmp_path, judged=6)
    assert trials >= 90 and disobedience.likely(hits, trials, promised)


def test_a_feature_that_is_never_passed_is_given_up_and_the_run_ends(tmp_path):
    assert list(disobedience.given_up(tmp_path)) == []


def test_an_attribute_of_which_nothing_is_passed_leaves_a_release_of_the_others(tmp_path):
    """Its config is not there, and the rest loads."""
    arguments = ["--only", "others/mustache", "--only", "base", "--scale", "0.01"]
    said = disobedience.run(tmp_path, *arguments, never="mustache", attempts=6)
    release = tmp_path / "agfd30k"
    assert "others" not in said and {path.name for path in (release / "data").iterdir()} == {"base"}
    assert {path.stem for path in (release / "assets").glob("*.webp")} == {"all", "base"}


def test_copies_are_found_at_the_default_radii():
    """Exact copies always, JPEG copies nearly always, and few drawn faces are taken for each other."""
    measured = copies.Measured(160, 128)
    assert list(copies.faults(measured)) == []
    assert measured.recall("mirrored", 12) < 0.2
    for kind in copies.KINDS:
        found = [measured.recall(kind, radius) for radius in copies.RADII]
        assert found == sorted(found)


def test_every_unfit_picture_is_rejected_for_its_own_reason(tmp_path):
    """Black, flat, noise, not finite, blurred, two faces, none, another size; and a good portrait is kept."""
    found = reasons.run(tmp_path)
    assert len(found) == len(reasons.PLANTED) and list(reasons.faults(found)) == []
