"""Data sets of the Hugging Face hub, at a pinned commit."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config.data import HubConfig, ReadConfig
from pipeline.data.errors import OFFLINE_WAYS, DataError, SourceUnavailable
from pipeline.data.labels import map_labels, number_words
from pipeline.data.records import Columns, Records
from pipeline.data.sources.columns import columns_from_table
from pipeline.data.sources.reading import Naming
from pipeline.errors import is_refused_by_disk
from pipeline.machine.content_digest import content_of
from pipeline.machine.folders import user_path
from pipeline.machine.hub_commits import settled_commit
from pipeline.machine.reachable import PATIENCE, unanswered

log = logging.getLogger(__name__)


@contextmanager
def _at_hand() -> Iterator[str | None]:
    """Use what is cached, and ask for no more, while the hub does not answer: its client would try for many minutes.

    Yields
    ------
    str or None
        Why the hub is away.
    """
    import datasets
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield None
        return
    away = unanswered(constants.ENDPOINT, PATIENCE)
    before = (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    try:
        if away is not None:
            constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        yield away
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def load_hub(
    config: HubConfig,
    kind: str,
    cache: Path,
    read: ReadConfig | None = None,
    columns: Mapping[str, Any] | None = None,
) -> Records:
    """Load the configured splits with ``datasets`` and convert them.

    Parameters
    ----------
    config : HubConfig
        Repository (or a local folder that ``datasets`` can read), configuration, commit, splits, renaming.
    kind : {"image", "text", "vector"}
        What the rows are.
    cache : Path
        ``datasets`` keeps its files below ``cache/hub``.
    read : ReadConfig, optional
        How labels and images are taken.
    columns : mapping, optional
        ``data.columns``: our names to the hub's.

    Raises
    ------
    SourceUnavailable
        If the hub cannot be reached; there is never a silent fall-back to other data.
    DataError
        If the repository needs a loading script, or has no such configuration, split or column.
    """
    if config.id is None:
        raise DataError("data.source=hub needs data.hub.id, such as data.hub.id=uoft-cs/cifar10.")
    read, folder = read or ReadConfig(), user_path(config.id)
    naming = Naming(columns or {}, config.rename, "hub")
    if folder.is_dir():
        return _load(config, config.id, kind, cache, read, naming)
    if not re.fullmatch(r"(?:[\w.-]+/)?[\w.-]+", config.id) or ".." in config.id:
        raise DataError(
            f"data.hub.id={config.id}: there is no such folder, and a repository is written NAME or OWNER/NAME."
        )
    with _at_hand() as away:
        try:
            return _load(config, config.id, kind, cache, read, naming)
        except SourceUnavailable as error:
            raise error if away is None else SourceUnavailable(f"{error} The hub does not answer: {away}.") from error


def _load(config: HubConfig, repository: str, kind: str, cache: Path, read: ReadConfig, naming: Naming) -> Records:
    import datasets

    folder = user_path(repository)
    local = folder.is_dir()
    revision = None if local else _commit(repository, config.revision)
    # Prepared files of a folder are found again by its name and times, so each content gets a cache of its own.
    content = content_of(folder, deep=True) if local else ""
    place = cache / "hub" / content.partition(":")[2]
    splits: dict[str, Columns] = {}
    drops: dict[str, int] = {}
    names: list[str] = []
    for split, theirs in config.splits.items():
        try:
            loaded = datasets.load_dataset(
                str(folder) if local else repository,
                config.name,
                split=theirs,
                revision=revision,
                cache_dir=str(place),
                trust_remote_code=False,
            )
        except OSError as error:  # ConnectionError, OfflineModeIsEnabled, DatasetNotFoundError
            raise _unreachable(repository, error) from error
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            raise DataError(
                f"{repository} needs a loading script, which datasets refuses. Use its Parquet copy: "
                "data.hub.revision=COMMIT where COMMIT is what refs/convert/parquet (or a conversion pull request) "
                f"points at, or {OFFLINE_WAYS}."
            ) from error
        except ValueError as error:
            whole = f" of configuration {config.name!r}" if config.name else ""
            hint = f" '~data.hub.splits.{split}' leaves it out." if "Unknown split" in str(error) else ""
            raise DataError(f"{repository}, split {theirs!r}{whole}: {error}{hint}") from error
        except datasets.exceptions.DatasetsError as error:
            cause = error.__cause__ or error
            raise DataError(f"{repository}, split {theirs!r}: datasets cannot read it ({cause}).") from error
        where = f"{repository}, split {split!r}"
        columns = columns_from_table(_arrow(loaded), kind, naming, where, read=read, files=local)
        if kind == "text":
            columns.setdefault("domain", [split] * len(columns["text"]))
        splits[split] = map_labels(columns, config.label_map, split, drops)
        names = names or _names(loaded, config, naming)
    if not names:
        names = number_words(splits, read.labels)
    where = "folder" if local else repository
    where = where if config.name is None else f"{where} ({config.name})"
    return Records(kind, splits, names, drops, source=f"hub: {where} @ {content or revision}")


def _arrow(loaded: Any) -> Any:
    """Rows as one Arrow table, images still encoded, in the order of the data set."""
    import datasets

    for column, feature in loaded.features.items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(column, datasets.Image(decode=False))
    return loaded.with_format("arrow")[:]


def _names(loaded: Any, config: HubConfig, naming: Naming) -> list[str]:
    if config.label_map:
        return []
    return list(getattr(loaded.features.get(naming.theirs("label")), "names", None) or [])


def _commit(repository: str, revision: str | None) -> str:
    """Resolve a branch or reference to the commit that addresses name, said aloud because the branch may move."""
    commit = settled_commit(repository, revision, "dataset")
    if commit is None:
        from huggingface_hub import HfApi

        try:
            commit = str(HfApi().dataset_info(repository, revision=revision).sha)
        except OSError as error:
            raise _unreachable(repository, error) from error
    if commit != revision:
        log.warning(
            "data.hub.revision=%s is no commit; for this machine %s is at %s. Pin that to have these rows elsewhere.",
            "null" if revision is None else revision,
            repository,
            commit,
        )
    return commit


def _unreachable(repository: str, error: OSError) -> SourceUnavailable:
    if is_refused_by_disk(error):  # the cache, not the hub: told by where it lies
        raise error
    return SourceUnavailable(
        f"The hub data set {repository} cannot be had ({type(error).__name__}: {error}). Ways out: connect this "
        f"machine, or {OFFLINE_WAYS}. Nothing else was used in its place."
    )
