"""Where an artifact lies: ``<store>/<stage>/<two digits>/<slug>-<key>``, the digits being the first of its key.

A folder of ten thousand entries is slow to list on a network disk, two hundred and fifty-six of forty are not. Stores
of earlier versions have no digits; what lies in them is used where it is.
"""

from __future__ import annotations

import re
from pathlib import Path

COMPLETE = re.compile(r".+-[0-9a-f]{12}")
"""Name of a finished artifact's folder."""
SHARD = re.compile(r"[0-9a-f]{2}")
"""Name of a folder between a stage's and its artifacts'."""


def shard_of(key: str) -> str:
    """Name of the folder, in its stage's, that the artifact of a key lies in."""
    return key[:2]


def stage_folder(folder: Path) -> Path:
    """Folder of the stage that an artifact's folder lies in.

    Examples
    --------
    >>> stage_folder(Path("artifacts/train/0f/mlp-0fa5fc5b6c8d"))
    PosixPath('artifacts/train')
    >>> stage_folder(Path("artifacts/train/mlp-0fa5fc5b6c8d"))
    PosixPath('artifacts/train')
    """
    parent = folder.parent
    return parent.parent if SHARD.fullmatch(parent.name) else parent
