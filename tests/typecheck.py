"""Shape annotations enforced at run time, in every test: jaxtyping and beartype around what carries one.

jaxtyping's own import hook wraps every function, closures included, each time that one is defined; that multiplies
the time of the kernel tests. Here only functions and dataclasses at the level of a module or a class are wrapped, and
only where their annotations hold a shape. Plain types are checked by mypy.
"""

from __future__ import annotations

import ast
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from typing import Any

from beartype import BeartypeConf, beartype

WRAPPER = "import jaxtyping as _jaxtyping, tests.typecheck as _typecheck"

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""``int`` is allowed where ``float`` is asked for (PEP 484)."""


class Wrap(ast.NodeTransformer):
    """Decorate what carries a shape; functions inside functions are left alone."""

    def __init__(self, tree: ast.Module) -> None:
        """Take the array types from the module's own import of jaxtyping."""
        imports = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom) and one.module == "jaxtyping"]
        self.types = {alias.asname or alias.name for one in imports for alias in one.names}
        self.wrapped: list[str] = []

    def _has_shape(self, node: ast.expr | None) -> bool:
        """Whether an annotation subscripts one of the array types."""
        return node is not None and any(
            isinstance(part, ast.Subscript) and getattr(part.value, "id", None) in self.types for part in ast.walk(node)
        )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Decorate a function or method whose signature holds a shape, innermost."""
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        if self._has_shape(node.returns) or any(one is not None and self._has_shape(one.annotation) for one in every):
            self._decorate(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Decorate a dataclass whose fields hold a shape, outermost, and visit its methods."""
        is_dataclass = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
        fields = [one.annotation for one in node.body if isinstance(one, ast.AnnAssign)]
        self.generic_visit(node)
        if is_dataclass and any(map(self._has_shape, fields)):
            self._decorate(node, outermost=True)
        return node

    def _decorate(self, node: ast.FunctionDef | ast.ClassDef, outermost: bool = False) -> None:
        call = ast.parse("_jaxtyping.jaxtyped(typechecker=_typecheck.checked)", mode="eval").body
        node.decorator_list.insert(0 if outermost else len(node.decorator_list), call)
        self.wrapped.append(node.name)


class _Loader(SourceFileLoader):
    """Compile a module with its shapes enforced; nothing is cached, for the cache holds the plain module."""

    def get_code(self, fullname: str) -> Any:
        """Wrap and compile the source; the imports follow the docstring and those from ``__future__``."""
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        wrap = Wrap(tree)
        wrap.visit(tree)
        if wrap.wrapped:
            first = next(i for i, node in enumerate(tree.body) if not _comes_first(node))
            tree.body[first:first] = ast.parse(WRAPPER).body
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _comes_first(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


class ShapeHook(MetaPathFinder):
    """Finder of the packages whose shapes are enforced."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        """Take the names of the packages."""
        self.packages = packages

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module of the packages as usual, and give it the wrapping loader."""
        if fullname.partition(".")[0] not in self.packages:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install(*packages: str) -> None:
    """Enforce the shapes of packages that are imported from now on."""
    sys.meta_path.insert(0, ShapeHook(packages))
