"""One browser for all tests of this folder; a real report, the page over its store, and pages of made-up runs."""

import warnings
from pathlib import Path

import pytest

from pipeline.browse.commands import write_page
from tests.absent import ABSENT
from tests.browser.chromium import start
from tests.browser.report_page import write_report
from tests.pipeline.browse.browse_store import make_store
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install

SITE = Path(__file__).resolve().parents[2] / "site"


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


@pytest.fixture(scope="session")
def quickstart(shared_store):
    """The folder of the report of a small quickstart, as its command makes it; skip where its images are absent."""
    from pipeline.engine.cells import compose_run
    from pipeline.entry import execute
    from pipeline.errors import UserError

    words = ("experiment=quickstart", "debug=tiny", 'cells.model=[["model=mlp"]]', f"paths.store={shared_store}")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("HF_HUB_OFFLINE", "1")
        warnings.simplefilter("default")  # of libraries, as in a command
        try:
            return execute(compose_run(words), words).folder
        except UserError as error:
            if any(text in str(error) for text in ABSENT):
                pytest.skip(f"its images are not on this machine: {error}")
            raise


@pytest.fixture(scope="session")
def store_page(quickstart, shared_store, tmp_path_factory):
    """The page over the quickstart's store, written elsewhere."""
    from pipeline.engine.artifacts import Store

    file = tmp_path_factory.mktemp("page of a store") / "browse.html"
    write_page(Store(shared_store), None, run_config(), file)
    return file


@pytest.fixture(scope="session")
def comparison_page(tmp_path_factory):
    """The page of ``compare_runs`` on five made-up runs."""
    from analysis import compare_runs
    from tests.analysis.comparison.cases import runs

    return compare_runs(*runs()).report(tmp_path_factory.mktemp("comparison") / "runs.html")


@pytest.fixture(scope="session")
def site():
    """The documentation site; skip where it is not built."""
    if not (SITE / "index.html").exists():
        pytest.skip("no site: `make docs` builds it")
    return SITE
