"""One browser for all tests of this folder, and the page over a store as a file."""

import pytest

from pipeline.browse.commands import write_page
from tests.browser.chromium import start
from tests.browser.report_page import write_report
from tests.pipeline.browse.browse_store import make_store
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    opened = start(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.driver.quit()


@pytest.fixture(scope="session")
def browser_page(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        store = make_store(tmp_path_factory.mktemp("browse") / "a store")
        write_page(store, None, run_config(), store.root / "browse.html")
    return store.root / "browse.html"


@pytest.fixture(scope="session")
def report_page(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report") / "report.html")
