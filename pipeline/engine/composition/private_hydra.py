"""Hydra for a moment, for callers that have a Hydra of their own, or none: nothing of theirs is seen or changed."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def private_hydra() -> Iterator[None]:
    """Put the caller's Hydra aside: what it has initialized, its schemas and the resolvers of OmegaConf.

    One thread is inside at a time, because Hydra keeps all of this once for the whole process.

    Examples
    --------
    >>> from hydra.core.global_hydra import GlobalHydra
    >>> before = GlobalHydra.instance()
    >>> with private_hydra():
    ...     GlobalHydra.instance() is before
    False
    >>> GlobalHydra.instance() is before
    True
    """
    import hydra.conf  # noqa: F401  (registers Hydra's own settings)
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.version import VersionBase
    from omegaconf.basecontainer import BaseContainer

    own = (ConfigStore, GlobalHydra, HydraConfig, VersionBase)
    with _ONE_AT_A_TIME:
        theirs = ConfigStore.instance()
        instances, resolvers = Singleton._instances, BaseContainer._resolvers
        copied = ConfigStore.__dict__.get("__deepcopy__")
        # The others, such as the plugins that Hydra has found, are the same for everyone.
        Singleton._instances = {kind: one for kind, one in instances.items() if kind not in own}
        BaseContainer._resolvers = dict(resolvers)
        ConfigStore.instance().repo["hydra"] = copy.deepcopy(theirs.repo["hydra"])
        try:
            yield
        finally:
            found = {kind: one for kind, one in Singleton._instances.items() if kind not in own}
            Singleton._instances, BaseContainer._resolvers = {**found, **instances}, resolvers
            if copied is None and "__deepcopy__" in ConfigStore.__dict__:
                delattr(ConfigStore, "__deepcopy__")
