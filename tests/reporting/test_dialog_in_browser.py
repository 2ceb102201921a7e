"""A picture's dialog in a browser: read from its top, in reach on any screen, with the face drawn over the picture."""

import pytest

from builder.reporting import page as reporting_page
from tests.fixtures import browser, builds, reports
from tests.fixtures.browser import box, reach, settled

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine (apt install chromium)")


def open_first(page, what="true"):
    """Open the first picture of which an expression of `n`, its number in the page's data, is true; returns `n`."""
    place = page.run(f"JSON.parse(document.getElementById('data').textContent).face.findIndex((face, n) => {what})")
    page.run(f"document.querySelectorAll('#pictures button')[{place}].click()")
    settled(page)
    return place


SCREENS = pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844), (390, 500)])


@SCREENS
def test_a_picture_opens_at_its_top_and_fits_the_screen(page, width, height):
    """Its heading has the focus; the picture stands beside the text on a laptop, above it on a phone."""
    page.window(width, height)
    open_first(page)
    assert page.run("document.activeElement.id") == "details-title"
    assert page.run("document.getElementById('details').scrollTop") == 0
    left, top, right, bottom = box(page, "#details")
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    picture, facts, title = box(page, "#details-picture"), box(page, ".facts"), box(page, "#details-title")
    assert top < title[1] < title[3] <= picture[1] < bottom
    if width > 1000:
        assert picture[2] < facts[0] and abs(picture[1] - facts[1]) < 2
    else:
        assert picture[3] < facts[1]
    assert page.run("document.documentElement.scrollWidth") <= width


@SCREENS
def test_the_buttons_are_in_reach_however_far_one_has_read(page, width, height):
    page.window(width, height)
    open_first(page)
    for scroll in (0, 10_000):
        page.run(f"document.getElementById('details').scrollTop = {scroll}")
        for button in ("#before", "#after", "#close"):
            left, top, right, bottom = box(page, button)
            assert 0 <= left < right <= width and 0 <= top < bottom <= height
            hit = f"document.elementFromPoint({(left + right) / 2}, {(top + bottom) / 2}).matches({button!r})"
            assert page.run(hit)
    page.run("document.getElementById('after').click()")
    assert page.run("document.getElementById('details').scrollTop") == 0


def test_a_picture_is_told_with_its_prompt_and_seed(page):
    place = open_first(page)
    data = page.run("JSON.parse(document.getElementById('data').textContent)")
    told = page.run("document.getElementById('details').innerText")
    prompt = "".join(data["words"][word] for word in data["prompt"][place])
    assert prompt.startswith("photo of a ") and prompt in told
    assert f"seed\n{data['seed'][place]}" in told and "yaw\n" in told and "°" in told


def test_the_last_picture_leaves_the_focus_in_the_dialog(page):
    """Where the button with the focus cannot be pressed any more, the heading gets it."""
    browser.choose(page, "sex", 1)
    last = page.run("document.querySelectorAll('#pictures button').length") - 1
    page.run(f"document.querySelectorAll('#pictures button')[{last - 1}].click()")
    page.run("document.getElementById('after').focus(), document.getElementById('after').click()")
    assert page.run("[document.getElementById('after').disabled, document.activeElement.id]") == [True, "details-title"]


# Faces drawn over pictures.

SHOWN = "getComputedStyle(document.querySelector('#details .face')).display"


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_a_box_and_its_points_lie_where_the_face_is(page, width, height):
    """At whatever size the picture is shown: to half a pixel of the screen."""
    page.window(width, height)
    place = open_first(page, "face && face.length === 14")
    page.press("f")
    x, y, wide, high, *points = page.run(f"JSON.parse(document.getElementById('data').textContent).face[{place}]")
    left, top, right, _ = box(page, "#details-image")
    scale = (right - left) / builds.SIDE
    assert scale > 10
    expected = [left + x * scale, top + y * scale, left + (x + wide) * scale, top + (y + high) * scale]
    assert box(page, "#details .face .box") == pytest.approx(expected, abs=0.5)
    (a, b, c, d), (xs, ys) = box(page, "#details .face .points"), (points[::2], points[1::2])
    assert (a, c) == pytest.approx((left + min(xs) * scale, left + max(xs) * scale), abs=0.5)
    assert (b, d) == pytest.approx((top + min(ys) * scale, top + max(ys) * scale), abs=0.5)


def test_faces_are_marked_on_demand_by_key_or_box_and_stay_so(page):
    """On all pictures, also on the next one; two boxes for it say the same."""
    open_first(page, "face && JSON.parse(document.getElementById('data').textContent).face[n + 1]")
    checked = "[...document.querySelectorAll('.mark input')].map((input) => input.checked)"
    assert (page.run(SHOWN), page.run(checked)) == ("none", [False, False])
    page.press("f", "ArrowRight")
    assert (page.run(SHOWN), page.run(checked)) == ("block", [True, True])
    thumbnail = "getComputedStyle(document.querySelector('#pictures .face')).display"
    assert page.run(thumbnail) == "block"
    page.run("document.querySelector('#details .mark input').click()")
    page.press("ArrowLeft")
    assert (page.run(SHOWN), page.run(checked), page.run(thumbnail)) == ("none", [False, False], "none")


def test_a_letter_that_chooses_from_a_list_marks_nothing(page):
    """F goes to the feature or sex that begins with it."""
    reach(page, "select[name=sex]")
    page.press("f")
    assert page.run("document.querySelector('.mark input').checked") is False


def test_where_no_face_was_found_nothing_is_drawn(page):
    page.press("f")
    open_first(page, "!face")
    assert page.run("document.querySelectorAll('#details .face').length") == 0


def test_a_release_without_faces_has_nothing_to_mark(chromium, tmp_path):
    reporting_page.make(reports.make(tmp_path / "x"), tmp_path / "page.html")
    chromium.open((tmp_path / "page.html").as_uri())
    assert chromium.run("[...document.querySelectorAll('.mark')].every((label) => !label.checkVisibility())") is True
    chromium.press("f")
    assert chromium.run("document.body.classList.contains('marked')") is False
