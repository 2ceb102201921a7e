"""The report in a browser: usable by keyboard alone, on a phone and in the dark, and it loads and runs nothing else."""

from collections import Counter

import pytest

from tests.fixtures import browser, reports
from tests.fixtures.browser import found, reach

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine (apt install chromium)")


def focused(page):
    """The id of the picture that has the focus."""
    return page.run("document.activeElement.title")


def cells(page):
    """For each heat map the sum of its numbers."""
    table = "[...table.querySelectorAll('td')].reduce((sum, cell) => sum + Number(cell.textContent), 0)"
    return page.run(f"[...document.querySelectorAll('#heat table')].map((table) => {table})")


def test_a_filter_by_keyboard(page):
    """Counts are those of all rows; the pictures, the balance and the other filters follow; one key brings all back."""
    assert found(page) == "170 of 170 pictures, 170 of them shown here"
    reach(page, "select[name=sex]")
    page.press("ArrowDown", "ArrowDown")
    assert page.run("document.activeElement.selectedOptions[0].textContent") == "female (70)"
    assert found(page) == "70 of 170 pictures, 70 of them shown here"
    assert page.run("document.querySelectorAll('#pictures button').length") == 70
    assert cells(page) == [70] * 6
    options = "[...document.querySelector('select[name=feature]').options].map((option) => option.textContent)"
    assert page.run(options) == ["all (70)", "banana (60)", "tea (10)"]
    reach(page, "button[type=reset]")
    page.press("Enter")
    page.run("new Promise((done) => setTimeout(done, 50))")
    assert found(page) == "170 of 170 pictures, 170 of them shown here"


def test_filters_together(page):
    """Every combination of two counts what the page's own data holds; what no row has cannot be chosen."""
    data = page.run("JSON.parse(document.getElementById('data').textContent)")
    counts = Counter()
    for *codes, n in zip(*data["cells"], data["counts"]):
        counts[codes[1], codes[5]] += n
    for feature in (0, 1):
        for verified in (0, 1, 2):
            browser.choose(page, "feature", feature)
            browser.choose(page, "verified", verified)
            rows = counts[feature, verified]
            assert found(page) == f"{rows} of 170 pictures, {rows} of them shown here"
    browser.choose(page, "feature", 1)
    browser.choose(page, "verified", "")
    assert page.run("document.querySelector('select[name=attribute]').options[1].disabled") is True


def test_walking_through_the_pictures_by_keyboard(page):
    """One Tab stop; arrows move by one and by a row, also over the edge of a page; Home, End and Page keys jump."""
    ids = page.run("JSON.parse(document.getElementById('data').textContent).id")
    reach(page, "#pictures button")
    assert focused(page) == ids[0]
    page.press("ArrowRight")
    assert focused(page) == ids[1]
    page.press("ArrowDown")
    columns = ids.index(focused(page)) - 1
    assert columns > 5
    page.press("ArrowUp", "ArrowLeft", "ArrowLeft")
    assert focused(page) == ids[0]
    page.press("End")
    assert focused(page) == ids[119]
    page.press("ArrowRight")
    assert (focused(page), page.run("document.getElementById('page').textContent")) == (ids[120], "page 2 of 2")
    page.press("ArrowUp")
    assert focused(page) == ids[119]
    page.press("PageDown")
    assert focused(page) == ids[120]
    page.press("End")
    assert focused(page) == ids[-1]
    page.press("PageUp", "Home")
    assert focused(page) == ids[0]
    assert page.run("document.querySelectorAll('#pictures [tabindex=\"0\"]').length") == 1
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_all_about_a_picture_by_keyboard(page):
    """Enter opens it, arrows go on from there, Escape closes it and the focus is on the picture last seen."""
    ids = page.run("JSON.parse(document.getElementById('data').textContent).id")
    reach(page, "#pictures button")
    page.press("Enter")
    told = page.run("document.getElementById('details').innerText")
    for word in (ids[0], "phrase", "passed\nintegrity", "not judged by", "face", "sex score\n0.25", "luminance\n0.5"):
        assert word in told
    assert any(text in told for text in reports.VILE)
    page.press("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowRight")
    assert page.run("document.getElementById('details-title').textContent") == ids[2]
    page.press("Escape")
    page.run("new Promise((done) => setTimeout(done, 50))")
    assert page.run("document.getElementById('details').open") is False
    assert focused(page) == ids[2]


def test_nothing_is_loaded_and_nothing_else_runs(page):
    """No request, no error, nothing that the page's policy had to stop, and no text of the table became a script."""
    assert page.run("document.title") == "Fruit sellers: report"
    page.run("document.querySelectorAll('#pictures button').forEach((button) => button.click())")
    assert page.run("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    assert page.run("document.querySelectorAll('img[src=x], #details script').length") == 0
    assert page.run("document.compatMode") == "CSS1Compat"
    assert page.problems == []


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(page, dark):
    """Nothing is wider than the screen, and in the dark the page is dark."""
    page.window(390, 800, dark)
    assert page.run("document.documentElement.scrollWidth") <= 390
    paper = page.run("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
