"""A wrong shape ends in an error wherever an annotation states one; closures and plain types are left alone."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from analysis.spectra.heavy_tails import NullFits
from analysis.spectra.power_law import fit_power_law
from tests.typecheck import Wrap

ROOT = Path(__file__).parents[1]


def test_a_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError):
        fit_power_law(np.ones((3, 3)))
    with pytest.raises(TypeCheckError):
        NullFits(alpha=np.ones((2, 2)), distance=np.ones(2), ratio=0.5)


def test_every_annotated_function_of_the_packages_is_wrapped():
    """By name: each public function whose signature holds a shape carries the wrapper that checks it."""
    unchecked, count = [], 0
    for package in ("models", "kernels", "analysis"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            wrap = Wrap(tree)
            wrap.visit(tree)
            if not functions & set(wrap.wrapped):
                continue
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            module = importlib.import_module(name)
            for function in functions & set(wrap.wrapped):
                count += 1
                if not hasattr(getattr(module, function), "__wrapped__"):
                    unchecked.append(f"{name}.{function}")
    assert count > 200 and not unchecked, unchecked
