"""Real and generated data behind one schema: prepared once, checked, and seen through reproducible views.

``source_identity`` (what the rows are, without reading them), ``prepare_dataset`` (write the canonical
rows into an artifact folder) and ``load_view`` (subset, split, poison) are the whole interface. Importing
this package imports neither torch nor datasets.
"""

from __future__ import annotations

from typing import Any

_WHERE = {
    "source_identity": "pipeline.data.sources.identity",
    "prepare_dataset": "pipeline.data.prepare",
    "load_view": "pipeline.data.view",
    "DataView": "pipeline.data.view",
    "Split": "pipeline.data.view",
    "DataError": "pipeline.data.errors",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
