"""Shared fixtures. Shape annotations are enforced at run time through beartype in every test."""

import os
import re
import warnings
from pathlib import Path

import pytest

import tests.typecheck
from tests.absent import ABSENT

tests.typecheck.install("models", "kernels", "analysis", "pipeline")

UNSTABLE = re.compile(r"\\x[0-9a-f]{2}|0x[0-9a-f]{6,}|\b1[5-9]\d{8}(\.\d+)?\b|pytest-of-")
"""Bytes, addresses of objects, times and temporary folders: what may be another in the next process."""

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Give each process one thread: where threads that spin outnumber the cores, all wait for all."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes, and texts that a terminal does not show as they are, by their argument; pytest numbers them."""
    plain = not isinstance(val, str) or (val.isascii() and val.isprintable() and not UNSTABLE.search(val))
    return None if plain and not isinstance(val, bytes) else argname


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names of tests that differ from process to process: parallel runs stop at them, and only sometimes."""
    if found := [item.nodeid for item in items if UNSTABLE.search(item.name)]:
        raise pytest.UsageError("give these cases ids that are the same in every process:\n" + "\n".join(found))


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
