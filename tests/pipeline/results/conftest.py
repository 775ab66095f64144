"""One finished toy study for all tests of this folder."""

import pytest

from tests.pipeline.results.results_study import make_study
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        return make_study(tmp_path_factory.mktemp("results") / "store")
