"""Composition by Hydra that keeps what many configurations share: files that were read, and how the first ones merge.

A study composes one configuration for each combination of its cells, and they differ in a file or two. Hydra reads and
merges all thirty files for each. Here a file is read again only if it has changed, and a merge goes on from what an
earlier configuration had at the same place. What is composed is the same, and so is every refusal.
"""

from __future__ import annotations

import os
import pickle
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

_MOST = 256
"""Merges that are kept; one takes about 40 kB."""
_RECENT_NS = 2_000_000_000
"""A file that was changed less long ago may change again within the same tick of its file system's clock."""
_ALIASED = "no_deepcopy_set_nodes"
_TOP_DEFAULTS = "HYDRA_REMOVE_TOP_LEVEL_DEFAULTS"


@dataclass
class _Kept:
    """Of this process.

    Attributes
    ----------
    files : dict
        Mark and pickled content of each file or schema that was read, by its source and name.
    places : dict
        Number of each sequence of merged parts, by the number of what is before its last part, and that part.
    merges : OrderedDict
        Pickled configuration at such a place, the one that was used last at the end.
    """

    files: dict[tuple[str, ...], tuple[Any, bytes]] = field(default_factory=dict)
    places: dict[tuple[int, Any], int] = field(default_factory=dict)
    merges: OrderedDict[int, bytes] = field(default_factory=OrderedDict)


_kept = _Kept()


def keep_parts() -> None:
    """Let the Hydra that runs now compose with what is kept."""
    running = GlobalHydra.instance().hydra
    if running is not None and type(running.config_loader) is ConfigLoaderImpl:
        running.config_loader = KeepingLoader(running.config_loader)


class KeepingLoader(ConfigLoaderImpl):
    """Hydra's loader, which keeps parts.

    Parameters
    ----------
    loader : ConfigLoaderImpl
        Whose search path and sources are used.
    """

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self.config_search_path, self.repository = loader.config_search_path, loader.repository

    def _load_configuration_impl(self, *arguments: Any, **named: Any) -> DictConfig:
        whole = defaults_list._create_interpolation_map
        defaults_list._create_interpolation_map = partial(_map_where_needed, whole)
        try:
            return super()._load_configuration_impl(*arguments, **named)
        finally:
            defaults_list._create_interpolation_map = whole

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Any], CachingConfigRepository]:
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        repository = _KeepingRepository(self.repository)
        self._process_config_searchpath(config_name, parsed, repository)
        return parsed, repository

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        assert isinstance(repo, _KeepingRepository)
        places = _places(defaults, repo)
        known = max((count for count, (place, _) in enumerate(places, 1) if place in _kept.merges), default=0)
        worth = max((count for count, (_, new) in enumerate(places, 1) if not new), default=0)
        cfg = OmegaConf.create()
        if known:
            _kept.merges.move_to_end(places[known - 1][0])
            cfg = pickle.loads(_kept.merges[places[known - 1][0]])
        cfg._set_flag(_ALIASED, True)
        for count, default in enumerate(defaults[known:], known + 1):
            loaded = self._load_single_config(default=default, repo=repo)
            try:
                cfg.merge_with(loaded.config)
            except OmegaConfBaseException as error:
                raise ConfigCompositionException(
                    f"In '{default.config_path}': {type(error).__name__} raised while composing config:\n{error}"
                ) from None  # as Hydra: whoever reads it finds the file in its words
            if count == worth:
                _keep_merge(places[count - 1][0], cfg)
        cfg._set_flag(_ALIASED, None)
        _strip_defaults(cfg)
        return cfg


def _map_where_needed(whole: Callable[..., DictConfig], chosen: Any, defaults: list[InputDefault], own: bool) -> Any:
    """Give what interpolations in a list of defaults refer to; making it for every file is a sixth of a composition."""
    return whole(chosen, defaults, own) if any(one.is_interpolation() for one in defaults) else None


class _KeepingRepository(CachingConfigRepository):
    """Hydra's repository of one composition, which reads a file again only if it has changed."""

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self.marks: dict[str, Any] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        if (own := f"config_path={config_path}") not in self.cache:
            self.cache[own] = self._load(config_path)
        return self.cache[own]

    def _load(self, config_path: str) -> ConfigResult | None:
        source = self.delegate._find_object_source(config_path, ObjectType.CONFIG)
        mark = None if source is None else _mark(source, config_path)
        if source is None or mark is None:
            return self.delegate.load_config(config_path)
        name = (source.scheme(), source.path, source.provider, config_path)
        self.marks[config_path] = (name, mark)
        then, content = _kept.files.get(name, (None, b""))
        if then == mark:
            return pickle.loads(content)
        found = self.delegate.load_config(config_path)
        if (kept := _pickled(found)) is None:
            del self.marks[config_path]
        else:
            _kept.files[name] = (mark, kept)
        return found


def _mark(source: ConfigSource, config_path: str) -> Any:
    """Tell the content of a file or schema from any other that it had or will have; None where that is not known."""
    name, kind = source._normalize_file_name(config_path), type(source)
    if not kind.__module__.startswith("hydra._internal."):  # a plug-in's, of which nothing is known
        return None
    if source.scheme() == "pkg":
        return "of an installed package"
    if source.scheme() == "structured":
        return _Same(getattr(source, "store")._load(name).node)  # noqa: B009
    try:
        stat = os.stat(os.path.join(source.path, name))
    except OSError:  # the source itself says so
        return None
    recent = time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < _RECENT_NS
    return None if recent else (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


class _Same:
    """Equal to another one of the same object, as long as that exists."""

    def __init__(self, thing: Any) -> None:
        self._thing, self._hash = weakref.ref(thing), id(thing)

    def __eq__(self, other: object) -> bool:
        mine = self._thing()
        return isinstance(other, _Same) and mine is not None and other._thing() is mine

    def __hash__(self) -> int:
        return self._hash


def _places(defaults: list[ResultDefault], repo: _KeepingRepository) -> list[tuple[int, bool]]:
    """Give a number to the merge after each part, and say whether it is new; up to a part that has no mark."""
    found, before = [], 0
    for default in defaults:
        mark = repo.marks.get(str(default.config_path))
        if mark is None:
            break
        step = (before, (mark, default.package, default.primary))
        new = step not in _kept.places
        before = _kept.places.setdefault(step, len(_kept.places) + 1)
        found.append((before, new))
    return found


def _keep_merge(place: int, cfg: DictConfig) -> None:
    if (content := _pickled(cfg)) is not None:
        _kept.merges[place] = content
        if len(_kept.merges) > _MOST:
            _kept.merges.popitem(last=False)


def _pickled(thing: Any) -> bytes | None:
    """Pickle; None for what cannot be, such as a schema whose class is local to a function."""
    try:
        return pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _strip_defaults(node: Any) -> None:
    """Remove lists of defaults that schemas hold, as Hydra does at this place."""
    if not isinstance(node, DictConfig) or node._is_missing() or node._is_none():
        return
    if node._get_flag(_TOP_DEFAULTS):
        flags = {name: node._get_node_flag(name) for name in ("readonly", "struct")}
        node._set_flag(list(flags), [False, False])
        node._set_flag(_TOP_DEFAULTS, None)
        node.pop("defaults", None)
        node._set_flag(list(flags), list(flags.values()))
    for _, value in node.items_ex(resolve=False):
        _strip_defaults(value)
