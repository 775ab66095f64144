"""Run the notebooks of docs/notebooks and store what they show: ``python -m scripts.run_notebooks [NAME ...]``.

The pictures and tables of a notebook are those of its last run here, and a digest of its cells says whether they still
belong to them. Cells are plain Python, run in one process from top to bottom in a folder that is deleted afterwards; a
Jupyter with its kernel would be twenty packages more for the same. Run it after changing a cell.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
DIGEST = "sources_sha256"
"""Name in a notebook's metadata of the digest of the cells whose outputs are stored."""
_DPI = 72


class FailedCell(Exception):
    """A cell has raised, with its place and traceback."""


def read_notebook(path: Path) -> dict[str, Any]:
    """Read a notebook's JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def source_digest(notebook: dict[str, Any]) -> str:
    """Digest of the cells, without their outputs."""
    cells = [[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def run_notebook(notebook: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run all cells in a folder and return the notebook with their outputs.

    Raises
    ------
    FailedCell
        At the first cell that raises.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names: dict[str, Any] = {"__name__": "__main__"}
    cells, count = [], 0
    with contextlib.chdir(folder):
        for cell in notebook["cells"]:
            if cell["cell_type"] != "code":
                cells.append(cell)
                continue
            count += 1
            outputs = _run_cell("".join(cell["source"]), names, f"cell {count}")
            for number in pyplot.get_fignums():
                outputs.append(_shown({"image/png": _png(pyplot.figure(number)), "text/plain": ["<Figure>"]}))
            pyplot.close("all")
            cells.append({**cell, "execution_count": count, "outputs": outputs})
    metadata = {**notebook["metadata"], DIGEST: source_digest(notebook)}
    return {**notebook, "cells": cells, "metadata": metadata}


def _run_cell(source: str, names: dict[str, Any], place: str) -> list[dict[str, Any]]:
    """Run one cell; what it prints comes first, then the value of its last line."""
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    tree = ast.parse(source, place)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, place, "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), place, "eval"), names)
    except Exception as error:
        raise FailedCell(f"{place}:\n{source}\n{traceback.format_exc()}") from error
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if isinstance(value, Figure) and value not in map(pyplot.figure, pyplot.get_fignums()):
        outputs.append(_shown({"image/png": _png(value), "text/plain": ["<Figure>"]}))
    elif value is not None and not type(value).__module__.startswith("matplotlib"):
        outputs.append(_shown(_forms(value)))
    return outputs


def _forms(value: Any) -> dict[str, Any]:
    forms: dict[str, Any] = {"text/plain": repr(value).splitlines(True)}
    page = getattr(value, "_repr_html_", lambda: None)()
    return forms | ({"text/html": page.splitlines(True)} if page else {})


def _shown(forms: dict[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": forms}


def _png(figure: Any) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()


def write_notebook(path: Path, notebook: dict[str, Any]) -> None:
    """Write a notebook as Jupyter does, whole or not at all."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(beside, path)


def main(names: list[str]) -> None:
    """Run the named notebooks, or all."""
    unknown = set(names) - {path.stem for path in NOTEBOOKS}
    if unknown:
        sys.exit(
            f"There is no notebook {', '.join(sorted(unknown))}; there are {', '.join(p.stem for p in NOTEBOOKS)}."
        )
    for path in NOTEBOOKS:
        if names and path.stem not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            write_notebook(path, run_notebook(read_notebook(path), Path(folder)))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
