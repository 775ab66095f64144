"""One artifact under construction: what a stage function receives and writes through."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import (
    FAILURE,
    SCRATCH,
    Artifact,
    Store,
    lock_of,
    open_partial,
    partial_of,
    start_partial,
    write_json,
)
from pipeline.engine.attempt import RECORD as ATTEMPT
from pipeline.engine.attempt import begin
from pipeline.engine.graph import Graph, Node
from pipeline.engine.inventory.completion import complete
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.replacement import settle
from pipeline.engine.schedule.work import work_of, working_together
from pipeline.engine.staleness import payload_digest
from pipeline.errors import UserError, memory_error, storage_error
from pipeline.machine.code_digest import code_record
from pipeline.machine.deletion import remove_or_leave
from pipeline.machine.folders import folders_of, user_path
from pipeline.machine.memory_peak import peak_of, start_peak
from pipeline.machine.owner_lock import folder_lock, owner_lock
from pipeline.machine.progress import say
from pipeline.machine.provenance import cpu_seconds, provenance
from pipeline.machine.ranks import barrier, broadcast_object, is_main_process
from pipeline.shown_text import masked, shown
from pipeline.tracking.base import Tracker

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor


LOADED = "rank-code.json"
"""Files of our code that the ranks of a build have imported, in its ``logs``."""


def _columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Turn rows (mappings or dataclass instances) into columns; see :meth:`Build.write_rows`."""
    plain = [asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows]
    names = list(dict.fromkeys(name for row in plain for name in row))
    return {name: [row.get(name, math.nan) for row in plain] for name in names}


@dataclass(frozen=True)
class Gathered:
    """A finished upstream artifact of a gather stage, with the labels of its cell.

    Attributes
    ----------
    labels : dict of str to str
        Labels that all of its cells share.
    config : RunConfig
        Configuration of its run.
    artifact : Artifact
        The artifact.
    spelled : str or callable
        The command that makes it, or what gives that: of ten thousand members a page shows few.
    """

    labels: dict[str, str]
    config: RunConfig
    artifact: Artifact
    spelled: str | Callable[[], str] = field(repr=False)

    @property
    def command(self) -> str:
        """The command that makes it."""
        return self.spelled if isinstance(self.spelled, str) else self.spelled()


@dataclass
class Build:
    """Handed to every stage function.

    Attributes
    ----------
    node : Node
        What is being made.
    folder : Path
        Construction folder; every file in it becomes payload, except ``scratch/`` and ``logs/``.
    inputs : dict of str to Artifact
        Finished upstream artifacts by role.
    members : dict of str to list of Gathered
        Finished upstream artifacts of a gather by stage.
    missing : list of str
        Labels of cells that are absent, as ``allow_missing`` permits.
    tracker : Tracker
        External tracker of this build; the base class, which does nothing, under ``logging=csv``.
    rebuild : Rebuild
        What ``rebuild=`` asks for, for artifacts that the stage's function makes itself.
    labels : dict of str to str
        Labels of the cells that it serves, for people.
    expected : float or None
        Seconds that it was expected to take when it was planned.
    together : callable
        Takes artifacts that the stage's function is about to make itself: where there are workers, they make them at
        the same time first, and the function is begun again.
    later : list of (str, RunConfig)
        Stages that will read it in the same command, and can say beforehand what they would refuse.
    """

    node: Node
    graph: Graph
    store: Store
    folder: Path
    inputs: dict[str, Artifact]
    members: dict[str, list[Gathered]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    tracker: Tracker = field(default_factory=Tracker)
    rebuild: Rebuild = field(default_factory=Rebuild)
    labels: dict[str, str] = field(default_factory=dict)
    expected: float | None = None
    together: Callable[[Sequence[Node]], None] = lambda nodes: None
    later: Sequence[tuple[str, RunConfig]] = ()

    @property
    def config(self) -> RunConfig:
        """Configuration of the run."""
        return self.node.config

    @property
    def scratch(self) -> Path:
        """Folder that survives a kill and is deleted on completion: checkpoints, finished tiles."""
        return self.folder / SCRATCH

    @property
    def logs(self) -> Path:
        """Folder for logs, which are not covered by the reproducibility guarantee."""
        return self.folder / "logs"

    def say(self, message: str) -> None:
        """Show one line of progress."""
        say(f"  {message}")

    def own_node(self, stage: str, config: RunConfig, overrides: Sequence[str]) -> Node:
        """Resolve an artifact that this stage's function makes itself.

        Raises
        ------
        ValueError
            If the stage's row in the table does not list it under ``makes``.
        """
        if stage not in self.node.stage.makes:
            raise ValueError(
                f"Stage {self.node.stage.name!r} makes {stage!r}, but its row in the table does not say so."
            )
        return self.graph.resolve(stage, config, overrides)

    def write_table(self, name: str, table: pa.Table | Mapping[str, Sequence[Any]]) -> None:
        """Write a Parquet table; a mapping is taken as columns."""
        if not is_main_process():
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not isinstance(table, pa.Table):
            table = pa.table(dict(table))
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd", store_schema=False)

    def write_rows(self, name: str, rows: Sequence[Any]) -> None:
        """Write a Parquet table from rows; the columns are all names that occur, in order of appearance.

        A name that a row lacks and another row has becomes NaN.

        Parameters
        ----------
        name : str
            File name inside the construction folder, such as ``probes.parquet``.
        rows : sequence of mapping or dataclass instance
            One per line of the table.
        """
        self.write_table(name, _columns(rows))

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write numpy arrays as one safetensors file."""
        if not is_main_process():
            return
        from numpy import ascontiguousarray

        from kernels.machine.tensor_files import save_arrays

        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_arrays({key: ascontiguousarray(value) for key, value in sorted(arrays.items())}, path)

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write torch tensors as one safetensors file."""
        if not is_main_process():
            return
        from kernels.machine.tensor_files import save_tensors

        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors({key: value.detach().cpu().contiguous() for key, value in sorted(tensors.items())}, path)


@contextlib.contextmanager
def construction(
    node: Node, graph: Graph, store: Store, *, rebuild: Rebuild | None = None, **upstream: Any
) -> Iterator[Build | None]:
    """Own an artifact's construction folder for the length of a ``with`` block.

    Yields None if another process finished it meanwhile. On leaving without an error the artifact is complete, in the
    place of the old one if ``rebuild`` covers it; on an error its traceback stays in ``logs/failed.json`` of the
    construction folder. Of several ranks the main process owns the folder; the others get a build that reads the same
    folder and writes nothing.
    """
    folder, rebuild = store.folder(*node.address), rebuild or Rebuild()
    request = rebuild.request if rebuild.covers(node) else ""
    if not is_main_process():
        wanted = broadcast_object(True)
        yield Build(node, graph, store, partial_of(folder), rebuild=rebuild, **upstream) if wanted else None
        barrier()
        return
    try:
        with owner_lock(lock_of(folder), say) as lock, contextlib.ExitStack() as held:
            settle(folder, partial_of(folder))
            done = rebuild.has(node, folder)
            if not done:
                locked = held.enter_context(folder_lock(start_partial(folder), say))
                done = rebuild.has(node, folder)  # made meanwhile by a process whose lock file was cleaned away
            if done:
                broadcast_object(False)
                yield None
                barrier()
                return
            scratch = node.config.paths.scratch
            partial = open_partial(folder, None if scratch is None else user_path(scratch))
            continued = (partial / SCRATCH / ATTEMPT).exists()
            changed = begin(node, folder, request, upstream.get("labels") or {})
            broadcast_object(True)
            (partial / "config.yaml").write_text(_config_text(node), encoding="utf-8")
            begun, started, clock, computed = partial.stat().st_ino, time.monotonic(), time.time(), cpu_seconds()
            start_peak()
            build = Build(node, graph, store, partial, rebuild=rebuild, **upstream)
            try:
                yield build
                barrier()
            except Exception as error:
                _record_failure(partial, error, node.command)
                raise
            if lock.lost() and not locked:
                raise UserError(
                    f"The lock file {lock.path} was deleted or replaced while this process made {folder.name}, so that "
                    "another one may have begun it too. Nothing finished is lost; run the same command again."
                )
            if not partial.is_dir() or partial.stat().st_ino != begun:
                remove_or_leave(partial)  # what was written after it had been deleted
                raise UserError(
                    f"{partial} was deleted while this process worked in it. Finished artifacts elsewhere are "
                    "untouched; run the same command again, and keep cleaners out of the store."
                )
            identity = {"stage": node.stage.name, "key": node.key, "version": node.stage.version}
            record = provenance(node.command, time.monotonic() - started, cpu_seconds() - computed)
            record |= _origin(build, changed)
            record["work"] = work_of(node)
            record |= {"started": _moment(clock), "ended": _moment(time.time()), "labels": dict(build.labels)}
            record |= {"workers": working_together(), "continued": continued}
            if build.expected is not None:
                record["expected_seconds"] = round(build.expected, 3)
            record["upstream_keys"] = sorted(one.key for one in node.upstream())
            complete(folder, identity, record | ({"rebuild": request} if request else {}))
    except UserError:
        raise
    except Exception as error:
        if (
            plain := storage_error(error, partial_of(folder), folders_of(node.config) | {"paths.store": store.root})
        ) is not None:
            raise plain from error
        if (plain := memory_error(error, node.stage.name, peak_of())) is not None:
            raise plain from error
        raise


def _origin(build: Build, changed: Sequence[str]) -> dict[str, Any]:
    """Code and inputs, from which :mod:`pipeline.engine.staleness` tells whether they are others today."""
    ranks = build.logs / LOADED
    code = code_record(json.loads(ranks.read_bytes()) if ranks.exists() else ())
    if during := [name for name in changed if name in code["files"]]:
        code["changed_meanwhile"] = during
    members = [member.artifact for group in build.members.values() for member in group]
    inputs = {}
    for one in (*build.inputs.values(), *members):
        with contextlib.suppress(UserError):  # damage of an input that was not read
            inputs[f"{one.stage}/{one.folder.name}"] = payload_digest(one.manifest)
    return {"code": code, "inputs": inputs}


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def _config_text(node: Node) -> str:
    """Hashed fields as YAML, one line each; JSON values are YAML."""
    lines = [
        f"{path}: {masked(json.dumps(value, ensure_ascii=False))}" for path, value in sorted(node.sections.items())
    ]
    return "\n".join([f"stage: {node.stage.name}", f"version: {node.stage.version}", *lines]) + "\n"


def _record_failure(partial: Path, error: Exception, command: str) -> None:
    if not partial.is_dir():  # somebody deleted it: do not bring it back for a record
        return
    # If the disk is full, the record cannot be written either; the error itself is still shown.
    with contextlib.suppress(OSError):
        write_json(
            partial / "logs" / FAILURE,
            {
                "error": str(error) if isinstance(error, UserError) else shown(f"{type(error).__name__}: {error}"),
                "traceback": shown(traceback.format_exc()),
                "command": command,
            },
        )
