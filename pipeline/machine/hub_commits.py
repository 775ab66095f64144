"""Which commit a branch of a Hugging Face repository stands for here: content is addressed, never the name of a branch.

A branch moves, so it is looked up once and then stays at what the cache's ``refs/BRANCH`` says, which Hugging Face's
own tools write and read too.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_COMMIT = re.compile("[0-9a-f]{40}")
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")
_PATIENCE = 5.0
_ASKED: dict[tuple[str, str, str], str | None] = {}


def settled_commit(repository: str, revision: str | None, kind: str, ask: bool = True) -> str | None:
    """Give the commit of a branch, a tag or, for None, the main branch.

    Parameters
    ----------
    repository : str
        NAME or OWNER/NAME.
    revision : str or None
        What the configuration names; a whole commit is returned as it is.
    kind : {"dataset", "model"}
        What the repository holds.
    ask : bool
        Whether to ask the hub, and to keep its answer in the cache, where the cache knows nothing.

    Returns
    -------
    str or None
        None where neither tells.

    Examples
    --------
    >>> settled_commit("a/b", "0" * 40, "model") == "0" * 40
    True
    """
    branch = revision or "main"
    if _COMMIT.fullmatch(branch):
        return branch
    if not _NAME.fullmatch(branch) or not _NAME.fullmatch(repository) or ".." in f"{branch}/{repository}":
        return None
    note = cache_folder() / f"{kind}s--{repository.replace('/', '--')}" / "refs" / branch
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = note.read_text(encoding="ascii").strip()
        if _COMMIT.fullmatch(kept):
            return kept
    place = (repository, branch, kind)
    if ask and place not in _ASKED:
        _ASKED[place] = _newest(*place)
        if (commit := _ASKED[place]) is not None:
            with contextlib.suppress(OSError):  # such as a cache of others: this process remembers it
                note.parent.mkdir(parents=True, exist_ok=True)
                written = note.with_name(f"{note.name}.{os.getpid()}.tmp")
                written.write_text(commit, encoding="ascii")
                os.replace(written, note)
    return _ASKED.get(place)


def cache_folder() -> Path:
    """Folder of downloaded repositories, found as ``huggingface_hub`` finds it, without importing that."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(given or os.path.join(home, "hub"))).expanduser()


def _newest(repository: str, branch: str, kind: str) -> str | None:
    from huggingface_hub import HfApi, constants

    from pipeline.machine.reachable import unanswered  # with its parts of the library, not for a status

    if constants.HF_HUB_OFFLINE or unanswered(constants.ENDPOINT, _PATIENCE) is not None:
        return None
    try:
        found = HfApi().repo_info(repository, revision=branch, repo_type=kind, timeout=_PATIENCE).sha
    except (OSError, ValueError):  # whoever loads the repository says what is wrong with it
        return None
    return found if found and _COMMIT.fullmatch(found) else None
