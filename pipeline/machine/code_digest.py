"""Which code makes an artifact: digests of our own files, untracked ones too, and of code that a user brings."""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.machine.content_digest import cached_sha256

ROOT = Path(__file__).resolve().parents[2]
OWN = ("models", "kernels", "analysis", "pipeline")
LIBRARIES = {
    "torch": "torch",
    "pytorch-lightning": "pytorch_lightning",
    "numpy": "numpy",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "transformers": "transformers",
    "safetensors": "safetensors",
}
"""Packages whose code computes numbers, each with the name that it is imported by."""
_LENGTH = 10


@cache
def own_files() -> dict[str, str]:
    """Digest of every Python file of our packages as it was when this process first asked.

    Git is not asked: it sees no untracked file, and a wheel has no repository.

    Returns
    -------
    dict of str to str
        Path below the project's root, such as ``models/mlp.py``, to the first digits of its sha256.
    """
    found = {}
    for package in OWN:
        for path in sorted((ROOT / package).rglob("*.py")):
            found[path.relative_to(ROOT).as_posix()] = _short(path.read_bytes())
    return found


@cache
def own_digest() -> str:
    """One digest over all files of our packages."""
    return _short(repr(sorted(own_files().items())).encode())


def loaded_files() -> list[str]:
    """Files of our packages that this process has imported, sorted."""
    names = (module for module in list(sys.modules.values()) if module.__name__.partition(".")[0] in OWN)
    paths = (Path(file) for module in names if (file := getattr(module, "__file__", None)))
    return sorted(path.relative_to(ROOT).as_posix() for path in paths if path.is_relative_to(ROOT))


def code_record(also: Collection[str] = ()) -> dict[str, Any]:
    """Describe the code of an artifact that this process has just made.

    That is the digest of all our files and of each one that was used, and the versions of the libraries that were.

    Parameters
    ----------
    also : collection of str
        Files that its other processes have imported.
    """
    files = own_files()
    used = sorted({*loaded_files(), *also} & files.keys())
    libraries = {name: _version(name) for name, module in LIBRARIES.items() if module in sys.modules}
    return {"digest": own_digest(), "files": {name: files[name] for name in used}, "libraries": libraries}


def changed_files(files: Mapping[str, str]) -> list[str]:
    """Of recorded files, those that are other ones today or gone."""
    today = own_files()
    return [name for name, digest in sorted(files.items()) if today.get(name) != digest]


def changed_libraries(libraries: Mapping[str, str]) -> list[str]:
    """Of recorded libraries, those that have another version today, in words: ``torch 2.12.0, now 2.13.0``."""
    return [
        f"{name} {then}, now {_version(name)}" for name, then in sorted(libraries.items()) if _version(name) != then
    ]


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def in_words(names: Collection[str]) -> str:
    """Name changed files in a few words: ``models/mlp.py and 2 more changed``."""
    first, *rest = sorted(names, key=lambda name: (OWN.index(name.partition("/")[0]), name))
    return f"{first} and {len(rest)} more changed" if rest else f"{first} changed"


def source_of(target: str) -> dict[str, Any]:
    """Say what code a name such as ``my_nets.wide:Wide`` or ``my_nets.wide.Wide`` stands for, without running it.

    Code in a user's own files is told by the content of its module and of every module of the user's that it imports,
    comments included; where they lie does not count. The folder of the command is looked into last. Code of an
    installed package is told by the package's version. Our own code is told by the stages' VERSIONs.

    Parameters
    ----------
    target : str
        Importable name of a class or function.

    Returns
    -------
    dict
        JSON-ready key material: ``{"name", "files"}``, ``{"name", "package", "version"}`` or ``{"name"}`` alone.

    Raises
    ------
    UserError
        If no module of that name can be found, or a user's module does not define the name.

    Examples
    --------
    >>> source_of("numpy.linalg:svd")["package"]
    'numpy'
    """
    see_working_folder()
    words = target.replace(":", ".").split(".")
    top = words[0]
    if top in OWN:
        _refuse_hidden(target, words)
        return {"name": target}
    place = _place(words)
    if place is None:
        raise UserError(
            f"{target} is no importable name: there is no module {top} on the Python path or in {os.getcwd()}, the "
            "folder of the command. Write MODULE.NAME, such as mynet.MyNet for the class MyNet in mynet.py."
        )
    module, path = place
    if _is_own_work(path):
        _refuse_undefined(target, words[module.count(".") + 1 :], path)
        files: dict[str, str] = {}
        _collect(module, path, files)
        return {"name": target, "files": files}
    _refuse_hidden(target, words)
    packages = _distributions().get(top, [])
    if packages:
        return {"name": target, "package": packages[0], "version": metadata.version(packages[0])}
    if top in sys.stdlib_module_names:
        return {"name": target, "package": "python", "version": ".".join(map(str, sys.version_info[:3]))}
    return {"name": target, "files": {module: cached_sha256(path)}}


_LOADED: dict[str, str] = {}
"""Content that each imported module of a user had when this process imported it."""


def ready_to_import(target: str) -> None:
    """Make sure that importing a name runs the code that :func:`source_of` tells, also where a file was edited since.

    Modules that this process has imported in an earlier form are forgotten, so that they are imported again.
    """
    files = source_of(target).get("files", {})
    if any(_LOADED.get(module, sha256) != sha256 for module, sha256 in files.items()):
        for module in files:
            sys.modules.pop(module, None)
    _LOADED.update(files)


def see_working_folder() -> None:
    """Let modules in the folder of the command be imported, after all others: no file there hides an installed one."""
    here = os.getcwd()
    if here not in (os.path.abspath(entry) for entry in sys.path):
        sys.path.append(here)
        importlib.invalidate_caches()


def _refuse_hidden(target: str, words: list[str]) -> None:
    """Say that a user's file or folder has the name of a package of ours or of an installed one, which hides it."""
    top, place = words[0], _place(words)
    if place is not None and place[0] != top:
        return
    for hidden in (Path(f"{top}.py"), Path(top)):
        if not hidden.exists() or hidden.resolve() == ROOT / top:
            continue
        if top in OWN:
            raise UserError(
                f"{target} names seedscope's own package {top}, which hides your {hidden}; give that another name, "
                "such as my_models."
            )
        mine = hidden if hidden.is_file() else hidden / "__init__.py"  # a folder of data hides nothing
        if mine.is_file() and place is not None and not mine.samefile(place[1]) and not _is_own_work(place[1]):
            raise UserError(
                f"{target} names the installed module {top}, which hides your {hidden}; give that another name, such "
                f"as my_{top}."
            )


def _refuse_undefined(target: str, names: list[str], path: Path) -> None:
    """Refuse a name that a user's module does not bind at its top level, as far as its text tells."""
    bound, sure = _bound_names(path, cached_sha256(path))
    classes = ", ".join(sorted(name for name, kind in bound.items() if kind != "import")) or "nothing"
    if not names:
        raise UserError(f"{target} is a module, {path}; name a class or function in it: {classes}.")
    if sure and names[0] not in bound:
        near = get_close_matches(names[0], bound, 1)
        hint = f"did you mean {near[0]}?" if near else f"it defines {classes}."
        raise UserError(f"{target}: {path} defines no {names[0]}; {hint}")


@cache
def _bound_names(path: Path, sha256: str) -> tuple[dict[str, str], bool]:
    """Names that a module binds at its top level, each with what it is, and whether these are surely all."""
    bound: dict[str, str] = {}
    sure = True
    for item in _parsed(path).body:
        if isinstance(item, ast.If) and ast.unparse(item.test).replace("'", '"') == '__name__ == "__main__"':
            continue  # no import runs it
        if isinstance(item, ast.ClassDef | ast.FunctionDef):
            bound[item.name] = "definition"
            sure = sure and item.name != "__getattr__"
        elif isinstance(item, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).partition(".")[0]: "import" for alias in item.names}
            sure = sure and "*" not in bound
        else:  # an assignment, or a block that may hold anything
            stored = {one.id for one in ast.walk(item) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
            bound |= dict.fromkeys(stored, "value")
            sure = sure and not isinstance(item, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.Match)
    return bound, sure


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{path}{line} is no Python that can be read: {error.args[0]}.") from error


@cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _place(words: list[str]) -> tuple[str, Path] | None:
    """Longest leading part of a dotted name that is a module, and its file; nothing is imported."""
    if not words[0].isidentifier() or (spec := _spec(words[0])) is None:
        return None
    inside = list(spec.submodule_search_locations or ())
    if spec.origin is None and not inside:
        return None
    # A folder without __init__.py is a package too, which has no file of its own.
    path, module = Path(spec.origin) if spec.origin else Path(inside[0]) / "__init__.py", words[0]
    for word in words[1:]:
        inner = path.parent / word
        if path.name != "__init__.py":
            break
        choices = (inner / "__init__.py", inner.with_suffix(".py"))
        file = next((one for one in choices if one.is_file()), choices[0] if inner.is_dir() else None)
        if file is None:
            break
        path, module = file, f"{module}.{word}"
    return (module, path) if path.is_file() else None


def _spec(name: str) -> Any:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a module without a specification, such as __main__
        return None


def _is_own_work(path: Path) -> bool:
    """Whether a module is a user's file and no part of Python or of an installed package."""
    roots = {"site-packages", "dist-packages"}
    return path.suffix == ".py" and not roots & set(path.parts) and not path.is_relative_to(Path(ast.__file__).parent)


def _collect(module: str, path: Path, files: dict[str, str]) -> None:
    """Add a module, the packages that hold it, and the user's modules that it imports."""
    if module in files:
        return
    files[module] = cached_sha256(path)
    parents = module.split(".")[:-1]
    names = {".".join(parents[: i + 1]) for i in range(len(parents))}
    names |= set(_imports(module, path, files[module]))
    for name in sorted(names):
        if name.partition(".")[0] in OWN or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        place = _place(name.split("."))
        if place is not None and _is_own_work(place[1]):
            _collect(*place, files)


@cache
def _imports(module: str, path: Path, sha256: str) -> tuple[str, ...]:
    """Names that a module imports anywhere; read anew where its content is another."""
    return tuple(_imported_names(module, path))


def _imported_names(module: str, path: Path) -> Iterator[str]:
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for item in ast.walk(_parsed(path)):
        if isinstance(item, ast.Import):
            yield from (alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            above = package[: len(package) - item.level + 1] if item.level else []
            base = ".".join([*above, *(item.module or "").split(".")]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in item.names if alias.name != "*")


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_LENGTH]
