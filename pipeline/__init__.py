"""Configuration, artifact store, data, training and stages; ``open_study`` reads what commands have made."""

from __future__ import annotations

from typing import Any

_PLACES = {"open_study": "pipeline.study.opening"}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), so that a command that needs none loads none."""
    from importlib import import_module

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
