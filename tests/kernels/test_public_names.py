"""Public names are found, and never hidden by a module."""

import importlib
import pkgutil
import types

import kernels


def test_every_public_name_stays_a_function_after_any_import() -> None:
    for name in kernels.__all__:
        getattr(kernels, name)
    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"kernels.{module.name}")
    assert not [name for name in kernels.__all__ if isinstance(getattr(kernels, name), types.ModuleType)]
