"""Shared fixtures. Shape annotations are enforced at run time through beartype in every test."""

from pathlib import Path

import pytest

import tests.typecheck

tests.typecheck.install("models", "kernels", "analysis", "pipeline")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with development data beside the checkout; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("development data (../shared/data) is not on this machine")
    return SHARED_DATA
