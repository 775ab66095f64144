"""One store for all tests of this folder."""

import pytest

from tests.pipeline.browse.browse_store import make_store
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        return make_store(tmp_path_factory.mktemp("browse") / "a store")
