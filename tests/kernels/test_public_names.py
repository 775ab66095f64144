"""Public names are found, documented with an example, and never hidden by a module."""

import importlib
import pkgutil
import types

import pytest

import kernels


def test_every_public_name_stays_a_function_after_any_import() -> None:
    for name in kernels.__all__:
        getattr(kernels, name)
    for module in pkgutil.iter_modules(kernels.__path__):
        importlib.import_module(f"kernels.{module.name}")
    assert not [name for name in kernels.__all__ if isinstance(getattr(kernels, name), types.ModuleType)]


FOLDERS = [module.name for module in pkgutil.iter_modules(kernels.__path__) if module.ispkg]


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_every_exported_name_has_an_example(folder: str) -> None:
    package = importlib.import_module(f"kernels.{folder}".rstrip("."))
    for name in package.__all__:
        assert "Examples\n" in (getattr(package, name).__doc__ or ""), name
