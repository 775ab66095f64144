"""Every public name shows how to use it, in an example that runs."""

import ast
import builtins
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


def not_imported(tests: list[doctest.DocTest]) -> set[str]:
    """Names that examples read and do not bind: a reader who pastes them gets a NameError."""
    tree = ast.parse("".join(example.source for test in tests for example in test.examples))
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.FunctionDef):
            bound |= {node.name, *(argument.arg for argument in node.args.args)}
        elif isinstance(node, ast.Lambda):
            bound |= {argument.arg for argument in node.args.args}
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - bound


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_example_imports_what_it_uses(folder):
    package = importlib.import_module(folder)
    finder = doctest.DocTestFinder(recurse=False)
    exported = {name: getattr(package, name) for name in package.__all__}
    missing = {name: not_imported(finder.find(value, name)) for name, value in exported.items() if callable(value)}
    assert not {name: names for name, names in missing.items() if names}


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
