"""Filters in a browser: they keep the reader where they read, stand in the address, and come back from it."""

import pytest

from tests.fixtures import browser
from tests.fixtures.browser import box, found, settled

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine (apt install chromium)")


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
@pytest.mark.parametrize("section", ["gallery", "balance"])
def test_a_filter_keeps_the_reader_where_they_read(page, width, height, section):
    """Deep in the pictures: at the beginning of those that are left, just below the filters; elsewhere: right there."""
    page.window(width, height)
    page.run(f"document.getElementById({section!r}).scrollIntoView({{behavior: 'instant'}})")
    page.run("window.scrollBy({top: 300, behavior: 'instant'})")
    settled(page)
    before = box(page, f"#{section}")[1]
    assert before < 0
    browser.choose(page, "feature", "1")
    settled(page)
    sticky = page.run("getComputedStyle(document.getElementById('filters')).position") == "sticky"
    bar = box(page, "#filters")[3] if sticky else 0
    top, bottom = box(page, f"#{section}")[1::2]
    assert sticky == (width > 1000)
    assert top == pytest.approx((bar + 8 if sticky else 0) if section == "gallery" else before, abs=1)
    assert bottom > bar


def test_a_filter_at_the_top_of_the_page_moves_nothing(page):
    browser.choose(page, "feature", "1")
    settled(page)
    assert page.run("window.scrollY") == 0


def reload(page):
    page.events.clear()
    page.call("Page.reload")
    while "Page.loadEventFired" not in page.events:
        page._next()


def test_what_is_chosen_stands_in_the_address_and_a_link_to_it_shows_the_same(page, url):
    browser.choose(page, "feature", "1")
    browser.choose(page, "sex", "1")
    page.press("f")
    address = page.run("location.href")
    assert address == f"{url}#feature=tea&sex=female&faces=1"
    told = found(page)
    for again in (lambda: reload(page), lambda: (page.open("about:blank"), page.open(address))):
        again()
        assert (found(page), page.run("location.href")) == (told, address)
        assert page.run("[...document.querySelectorAll('select')].map((select) => select.value)")[1:3] == ["1", "1"]
        assert page.run("document.body.classList.contains('marked')") is True
    assert page.problems == []


def test_show_all_clears_the_address(page):
    browser.choose(page, "feature", "1")
    page.run("document.querySelector('button[type=reset]').click()")
    settled(page)
    assert page.run("location.hash") == "" and found(page).startswith("170 of 170")


def test_back_leaves_the_page_and_forth_restores_it(page, url):
    """Choosing is no step in the history."""
    page.open("about:blank")
    page.open(url)
    for value in ("0", "1"):
        browser.choose(page, "feature", value)
    told = found(page)
    page.travel(-1)
    page.wait("location.href === 'about:blank'")
    page.travel(1)
    page.wait("document.getElementById('found')?.textContent.length > 0")
    assert (found(page), page.run("location.hash")) == (told, "#feature=tea")


@pytest.mark.parametrize(
    ("address", "left"),
    [
        ("#feature=pear&sex=female", 70),
        ("#hat=red&feature=", 170),
        ("#feature=constructor&__proto__=1", 170),
        ("#=&&feature=tea=&sex=%E0%A4%A", 170),
        ("#feature=1", 170),
        ("#balance", 170),
        ("#feature=tea&feature=banana", 20),
    ],
)
def test_what_the_address_says_wrongly_is_left_out(page, url, address, left):
    page.open("about:blank")
    page.open(url + address)
    assert found(page) == f"{left} of 170 pictures, {left} of them shown here"
    assert page.run("[...document.querySelectorAll('select')].every((select) => select.selectedIndex >= 0)") is True
    assert page.problems == []


def test_an_address_that_is_changed_by_hand_is_followed(page):
    page.run("location.hash = 'feature=tea'")
    page.wait("document.getElementById('found').textContent.startsWith('20 of')")
    page.run("location.hash = ''")
    page.wait("document.getElementById('found').textContent.startsWith('170 of')")


def test_a_link_to_a_section_leaves_the_filters_in_the_address(page):
    browser.choose(page, "feature", "1")
    page.run("document.querySelector('nav a[href=\"#features\"]').click()")
    page.wait("document.getElementById('features').getBoundingClientRect().top < 50")
    assert page.run("[location.hash, document.activeElement.id]") == ["#feature=tea", "features"]


def test_rejected_tries_are_those_of_the_chosen_feature(page):
    """Over all of them first; what is not noted of rejected tries changes nothing."""
    data = page.run("JSON.parse(document.getElementById('data').textContent)")["rejected"]
    total = {row[1]: sum(row[3]) for row in data["rows"]}
    cell = "document.querySelector('#reasons tbody td').textContent"
    assert page.run(cell) == str(sum(total.values())) and min(total.values()) > 0
    browser.choose(page, "feature", "1")
    assert page.run(cell) == str(total["tea"])
    tries = page.run("document.getElementById('tries').textContent")
    assert tries.startswith(f"{total['tea']} of {total['tea'] + 20} tries were rejected (")
    browser.choose(page, "sex", "1")
    assert page.run(cell) == str(total["tea"])
