"""``stage=verify``: hold every file of a store against the digest that its manifest promises."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.listing import Listing
from pipeline.errors import UserError
from pipeline.machine.payload_files import MANIFEST, MAY_NOT_READ
from pipeline.machine.progress import say, track
from pipeline.shown_text import typed

_NAMED = 200
"""Rows of the table: a store on a broken disk may hold thousands of damaged files."""


@dataclass(frozen=True)
class Damage:
    """One file of a finished artifact that is not what its manifest says, or that this user may not read."""

    artifact: Artifact
    file: str
    problem: str

    @property
    def unreadable(self) -> bool:
        """Whether the file may be in order: its owner has to give access first."""
        return MAY_NOT_READ in self.problem


def finished_artifacts(store: Store) -> list[Artifact]:
    """Every folder of a store that carries a complete name, by stage and name; also those of former stages."""
    listing = Listing(store.root)
    return [Artifact(Path(entry.path)) for stage in listing.stages() for entry in listing.finished(stage)]


def damages_of(artifact: Artifact) -> list[Damage]:
    """Check one artifact; an artifact that another process removed meanwhile has none."""
    try:
        return [Damage(artifact, name, problem) for name, problem in artifact.damages()]
    except UserError as error:  # the manifest itself, or a file that this user may not read
        if not artifact.folder.is_dir():
            return []
        return [Damage(artifact, MANIFEST, str(error).partition(". Nothing was changed")[0])]


def verify_store(graph: Graph, store: Store, config: RunConfig) -> None:
    """Check every artifact below ``paths.store`` and print what is damaged, missing or extra.

    Nothing is changed. The process ends with exit code 1 if a file is not what it should be.

    Parameters
    ----------
    graph : Graph
        Not needed: a store is checked whole, whatever the experiment.
    store : Store
        The store.
    config : RunConfig
        Not needed either.
    """
    artifacts = finished_artifacts(store)
    if not artifacts:
        print(f"{store.root} holds no finished artifact.")
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing and reading release Python's lock
        found = [damage for some in track(pool.map(damages_of, artifacts), "verify", len(artifacts)) for damage in some]
    if not found:
        print(f"{len(artifacts)} artifacts in {store.root}: every file is what its manifest says.")
        return
    _show(store, found)
    broken = {damage.artifact.folder: damage.artifact for damage in found}
    files = "1 file" if len(found) == 1 else f"{len(found)} files"
    say(f"not what their manifests say: {files}, in {len(broken)} of {len(artifacts)} artifacts")
    sys.exit(1)


def _show(store: Store, found: Sequence[Damage]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"damaged in {store.root}", title_justify="left")
    for column in ("stage", "artifact"):
        table.add_column(column, overflow="fold")
    table.add_column("file and what is wrong", overflow="fold")
    for damage in found[:_NAMED]:
        problem = damage.problem if damage.problem.startswith("/") else f"{damage.file} {damage.problem}"
        table.add_row(damage.artifact.stage, Text(damage.artifact.folder.name), Text(problem))
    console = Console(width=None if "COLUMNS" in os.environ or os.isatty(1) else 160)
    console.print(table)
    if len(found) > _NAMED:
        print(f"and {len(found) - _NAMED} more")
    broken = [damage for damage in found[:_NAMED] if not damage.unreadable]
    if broken:
        print("\nTo make them again (an extra file can simply be deleted):")
    for artifact in {damage.artifact.folder: damage.artifact for damage in broken}.values():
        print(f"  {typed(rebuild_command(artifact))}")


def rebuild_command(artifact: Artifact) -> str:
    """Give the command that makes an artifact again; where its record is lost, say what to add to its command."""
    if artifact.command:
        return f"{artifact.command} 'rebuild=[{artifact.key}]'"
    return f"{artifact.stage} {artifact.folder.name}: its command plus 'rebuild=[{artifact.key}]'"
