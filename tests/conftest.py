"""Shared fixtures. Shape annotations are enforced at run time through beartype in every test."""

import os
import warnings
from pathlib import Path

import pytest

import tests.typecheck
from tests.absent import ABSENT

tests.typecheck.install("models", "kernels", "analysis", "pipeline")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory) -> Path:
    """One store for all commands that the tests run, of all worker processes: equal artifacts are made once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared_store"


@pytest.fixture
def run_here(monkeypatch):
    """Run a command in this process, which has imported torch already; skip where its data are not on this machine."""
    from pipeline.engine.cells import compose_run
    from pipeline.entry import execute
    from pipeline.errors import UserError

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(*overrides: str):
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # of libraries, as in a command
            try:
                return execute(compose_run(overrides), overrides)
            except UserError as error:
                if any(words in str(error) for words in ABSENT):
                    pytest.skip(f"its data or weights are not on this machine: {error}")
                raise

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with development data beside the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("development data (../shared/data) is not on this machine")
    return SHARED_DATA
