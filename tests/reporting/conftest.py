"""A report in a browser."""

import pytest

from builder.reporting import page as reporting_page
from tests.fixtures import browser, builds, reports

LARGE = builds.OWN_TABLE.replace("male = 12\nfemale = 8", "male = 90\nfemale = 60")


@pytest.fixture(scope="package")
def url(tmp_path_factory):
    """A report of 170 pictures, more than are shown at once, with phrases that try to break out."""
    folder = tmp_path_factory.mktemp("browser")
    toml = LARGE.replace('["(banana:1.2)", "two bananas"]', "[" + ", ".join(f'"{text}"' for text in reports.VILE) + "]")
    release = reports.detect(reports.make(folder / "x", toml=toml))
    reporting_page.make(release, folder / "page.html")
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="package")
def chromium():
    with browser.page() as page:
        yield page


@pytest.fixture
def page(chromium, url):
    chromium.window(1280, 1000)
    chromium.open(url)
    return chromium
