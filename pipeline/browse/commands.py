"""``stage=browse``: write the page over a store, or serve it on this machine and keep it fresh."""

from __future__ import annotations

from pathlib import Path

from pipeline.browse.contents import contents_of
from pipeline.browse.page import render, write
from pipeline.browse.rows import rows_of
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Graph, Node
from pipeline.errors import UserError
from pipeline.machine.folders import user_path
from pipeline.machine.progress import say
from pipeline.results.commands import study_of

PAGE = "browse.html"


def show_browser(graph: Graph, store: Store, config: RunConfig) -> None:
    """Write ``browse.html`` into the store, or where ``out`` says; with ``serve``, serve it until it is interrupted.

    Parameters
    ----------
    graph : Graph
        Resolves the study, if the command names one; the page then holds what that needs.
    store : Store
        Where the artifacts lie.
    config : RunConfig
        ``serve``, ``out`` and ``select`` are read.

    Raises
    ------
    UserError
        If there is no such store, ``out`` is no name of a page, or the port cannot be used.
    """
    if config.out is not None and Path(config.out).suffix.lower() not in (".html", ".htm"):
        raise UserError(f"out={config.out} is no name of a page: end it with .html, as out=runs.html.")
    if not store.root.is_dir():
        raise UserError(
            f"There is no store {store.root}: run an experiment first, such as `python run.py experiment=quickstart`, "
            "or set paths.store to the folder of one."
        )
    target = study_of(graph, config)
    if config.serve is not None:
        from pipeline.browse.server import serve

        serve(store, target, config.select, config.serve)
        return
    path = store.root / PAGE if config.out is None else user_path(config.out)
    count = write_page(store, target, config, path)
    say(f"done: {path} ({count} artifacts; open it in any browser, or add serve=8000 to keep it fresh)")


def write_page(store: Store, target: Node | None, config: RunConfig, path: Path) -> int:
    """Write the page and give the number of its artifacts."""
    rows = rows_of(store, target, config.select)
    write(path, render(contents_of(rows, store.root, path)))
    return len(rows.records)
