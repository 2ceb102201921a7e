"""The page of a report and of two models: what it says, what it shows, and that nothing in it is taken for HTML."""

import re

import numpy as np
import pytest

import builder
from builder import __main__ as commands
from builder.evaluation import page
from builder.evaluation.comparison import Comparison
from builder.evaluation.report import PAGE, Report
from builder.evaluation.truth import Truth
from tests.fixtures import browser, evaluations
from tests.fixtures.evaluations import BOX, brightness, write

NAME = "a <b>model</b>"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return evaluations.make(tmp_path_factory.mktemp("page") / "release")


@pytest.fixture(scope="module")
def report(release):
    by = [("feature", "sex"), ("sex",)]
    return builder.evaluate(brightness, release, task="detect", by=by, name=NAME)


@pytest.fixture(scope="module")
def html(report, release):
    return page.of_report(report, release).decode()


def rows(html, number=0):
    """The rows of a table of cells, as texts."""
    table = re.findall(r'<table class="cells">.*?</table>', html, re.S)[number]
    bodies = re.findall(r"<tr.*?</tr>", table.partition("<tbody>")[2], re.S)
    return [
        [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.S)] for row in bodies
    ]


def test_every_cell_is_a_row_and_the_worst_comes_first(report, html):
    for number, slices in enumerate(report.document.slices):
        found, by = rows(html, number), len(slices.by)
        assert {tuple(row[:by]) for row in found} == {tuple(cell.key.values()) for cell in slices.cells}
        certain = [cell.loss for cell in sorted(slices.cells, key=lambda cell: (cell.grey, -cell.loss))]
        named = {tuple(cell.key.values()): cell.loss for cell in slices.cells}
        assert [named[tuple(row[:by])] for row in found] == certain


def test_bars_are_as_long_as_their_rates(report, html):
    """And the whiskers are at the intervals' limits; the longest interval that is not grey is the whole width."""
    cells = sorted(report.document.slices[0].cells, key=lambda cell: (cell.grey, -cell.loss))
    scale = max((cell.interval[1] for cell in cells if not cell.grey), default=1)
    bars = re.findall(
        r'<rect class="m0" x="0" y="4" width="([\d.]+)"[^>]*/><path class="whisker" d="M([\d.]+) 9H([\d.]+)M', html
    )
    for cell, bar in zip(cells, bars[: len(cells)], strict=True):
        asked = [min(value / scale, 1) * page.WIDTH for value in (cell.rate, *cell.interval)]
        assert [float(value) for value in bar] == pytest.approx(asked, abs=0.06)


def test_failures_are_pictures_with_boxes(report, release, html):
    """Those of the worst slices; a box for what the release knows, none where the model said none."""
    groups = [cell for cell in report.document.cells if cell.against and cell.examples]
    groups = sorted(groups, key=lambda cell: (cell.grey, -cell.loss))[: page.GROUPS]
    ids = [id for cell in groups for id in cell.examples]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", html) == ids and ids
    truth = Truth.of(release)
    known = {id for id, box in zip(truth.ids, truth.numbers("face_x")[:, 0]) if not np.isnan(box)}
    boxes = html.count('<rect class="truth"')
    assert boxes == sum(id in known for id in ids) and html.count('<rect class="answer"') == 0
    assert f'x="{BOX[0]}" y="{BOX[1]}" width="{BOX[2]}" height="{BOX[3]}"' in html


def test_names_are_text_and_nothing_is_loaded(html):
    """A model's name is the user's; the page runs its own script alone, and asks no network."""
    assert "<b>model</b>" not in html and "a &lt;b&gt;model&lt;/b&gt;" in html
    assert "default-src 'none'" in html.replace("&#39;", "'") and not re.search(r'(src|href)="(?!#|data:)', html)


def test_two_models_are_drawn_side_by_side(report, release, tmp_path):
    said = [{"id": id, "boxes": [[*BOX, 0.9]]} for id in Truth.of(release).chosen().ids]
    other = builder.evaluate(
        write(tmp_path / "m.jsonl", said), release, task="detect", by=[("feature", "sex"), ("sex",)]
    )
    html = page.of_comparison(Comparison.of(report, other), report, other).decode()
    cells = sum(len(slices.cells) for slices in report.document.slices)
    assert len(rows(html, 0)) + len(rows(html, 1)) == cells
    assert html.count('<rect class="m0"') == html.count('<rect class="m1"') == cells
    assert "m.jsonl" in html and "percentage points" in html


def test_the_command_writes_the_page_and_replaces_none(release, tmp_path, capsys):
    """Of labels alone, without pictures, the page has no failures to show."""
    said = [{"id": id, "score": 0.2} for id in Truth.of(release).chosen().ids]
    file, out = write(tmp_path / "m.jsonl", said), tmp_path / "out"
    arguments = ["evaluate", str(release), "--task", "fake", "--predictions", str(file), "--by", "feature", "--out"]
    assert commands.main([*arguments, str(out)]) == 0
    first = (out / PAGE).read_bytes()
    assert "open report.html" in capsys.readouterr().out and b'id="failures"' in first
    assert commands.main([*arguments, str(out)]) == 2 and (out / PAGE).read_bytes() == first
    assert (
        commands.main(["evaluate", str(out / "report.json"), str(out / "report.json"), "--out", str(tmp_path / "c")])
        == 0
    )
    assert b"percentage points" in (tmp_path / "c" / PAGE).read_bytes()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / PAGE).write_text("the user's own")
    assert commands.main([*arguments, str(tmp_path / "mine")]) == 2 and "report.html" in capsys.readouterr().err
    assert (tmp_path / "mine" / PAGE).read_text() == "the user's own"
    labels = tmp_path / "labels"
    labels.mkdir()
    assert b'id="failures"' not in page.of_report(Report.load(out), labels)


@pytest.mark.skipif(browser.find() is None, reason="no Chromium on this machine")
def test_heads_sort_and_the_page_fits_a_phone(html, tmp_path):
    """Pressed once a head sorts from the largest, twice from the smallest; tables scroll in themselves."""
    (tmp_path / "page.html").write_text(html)
    with browser.page() as tab:
        tab.window(390, 844)
        tab.open((tmp_path / "page.html").as_uri())
        assert tab.run("document.documentElement.scrollWidth") <= 390
        shown = (
            "[...document.querySelector('table.cells').tBodies[0].rows].map((row) => Number(row.cells[2].dataset.sort))"
        )
        head = "document.querySelector('table.cells').tHead.rows[0].cells[2]"
        for direction, is_down in (("descending", True), ("ascending", False)):
            tab.run(f"{head}.firstElementChild.click()")
            counts = tab.run(shown)
            assert counts == sorted(counts, reverse=is_down) and len(set(counts)) > 1
            assert tab.run(f"{head}.getAttribute('aria-sort')") == direction
            assert tab.run("document.querySelectorAll('table.cells')[0].querySelectorAll('[aria-sort]').length") == 1
        assert tab.problems == []
