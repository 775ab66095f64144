"""Every public name shows how to use it, in an example that runs."""

import doctest
import importlib
import pkgutil

import pytest

import analysis
import kernels
import models

FOLDERS = [
    package.__name__ + suffix
    for package in (kernels, analysis, models)
    for suffix in ("", *(f".{module.name}" for module in pkgutil.iter_modules(package.__path__) if module.ispkg))
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_exported_name_has_an_example(folder):
    package = importlib.import_module(folder)
    assert package.__all__, f"{folder} exports nothing"
    finder = doctest.DocTestFinder(recurse=False)
    exported = {name: getattr(package, name) for name in package.__all__}
    without = [
        name
        for name, value in exported.items()
        if callable(value)
        and not ("Examples\n" in (value.__doc__ or "") and any(test.examples for test in finder.find(value, name)))
    ]
    assert not without, f"no Examples section in the docstring of {', '.join(without)}"
    # ``pytest --doctest-modules`` runs an example where the name is defined; elsewhere it would never run.
    astray = [
        name
        for name, value in exported.items()
        if callable(value) and value.__module__.partition(".")[0] != folder.partition(".")[0]
    ]
    assert not astray, f"{folder} exports {', '.join(astray)} of another package"
