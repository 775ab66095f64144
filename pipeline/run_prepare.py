"""Stage ``prepare``: rows of a data set in one canonical form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.engine.build import Build


def run(build: Build) -> dict[str, Any]:
    """Fetch, check and convert a data set.

    Parameters
    ----------
    build : Build
        The artefact under construction.

    Returns
    -------
    dict
        Counts, label histogram, drops per rule and the content fingerprint.
    """
    from pipeline.data.prepare import prepare_dataset

    return prepare_dataset(build.config.data, build.folder, Path(build.config.paths.cache))
