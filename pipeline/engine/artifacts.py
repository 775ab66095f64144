"""Artifact store: a folder per artifact, complete the moment it carries its final name.

``<store>/<stage>/<two digits>/<slug>-<key>/`` holds the payload. ``manifest.json`` lists it with sha256, and holds the
small files that every artifact has, settings and metrics, as well: a file less to read is a look-up less on a network
disk.
Beside it are ``provenance.json`` and ``logs/``, which are not covered by the reproducibility guarantee. Work happens in
``<folder>.partial`` under an owner lock; what may survive a kill is in ``<folder>.partial/scratch`` and is deleted
before the atomic rename.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.inventory.inline import (
    FOR_PEOPLE,
    FORMAT,
    SETTINGS,
    held_by,
    joined,
    problem_of,
    problem_of_copy,
    settings_of,
)
from pipeline.engine.inventory.inline import METRICS as METRICS
from pipeline.engine.inventory.layout import shard_of, stage_folder
from pipeline.engine.inventory.listing import Listing
from pipeline.engine.replacement import replaced
from pipeline.errors import CorruptArtifact, UserError
from pipeline.machine.deletion import remove
from pipeline.machine.owner_lock import current_owner
from pipeline.machine.payload_files import (
    MANIFEST,
    PROVENANCE,
    lists_files,
    not_readable,
    payload_files,
)
from pipeline.machine.progress import say
from pipeline.machine.scratch import SCRATCH, open_scratch
from pipeline.machine.side_files import read_plain, read_record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor

FORMER_FORMATS = (1, 2)
FAILURE = "failed.json"
_RECORDED: dict[str, Any] = {
    "command": str,
    "commit": str,
    "wall_seconds": (int, float),
    "cpu_seconds": (int, float),
    "peak_memory_bytes": int,
    "work": dict,
    "code": dict,
    "inputs": dict,
    "rebuild": str,
}
"""Types of the fields of a provenance that the pipeline itself reads."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass
class Artifact:
    """A finished artifact, read-only. Every file is checked against the manifest when first opened.

    Attributes
    ----------
    folder : Path
        Its folder in the store.
    rebuild_hint : callable
        Gives what to tell the user when a file is corrupt.
    """

    folder: Path
    rebuild_hint: Callable[[], str] = str
    _checked: set[str] = field(default_factory=set, repr=False)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Format, stage, key, VERSION and the files with their sha256 and size."""
        path = os.path.join(self.folder, MANIFEST)  # a Path would cost as much as reading the file
        try:
            manifest = json.loads(read_plain(path))
        except PermissionError as error:
            raise UserError(not_readable(Path(path))) from error
        except (OSError, ValueError, RecursionError) as error:
            odd = os.path.exists(path) and not os.path.isfile(path)
            problem = "is no file" if odd else f"cannot be read ({error})"
            raise CorruptArtifact(f"{path} {problem}. {self._way_out}") from error
        if not isinstance(manifest, dict) or not lists_files(manifest.get("files")):
            raise CorruptArtifact(f"{path} is damaged: it lists no files. {self._way_out}")
        if manifest.get("format") not in (FORMAT, *FORMER_FORMATS):
            raise UserError(
                f"{self.folder} has store format {manifest.get('format')}, this version reads {FORMAT} and before. "
                f"Use the version that made it, or make it again: rebuild=[{self.key}]."
            )
        return manifest

    @property
    def key(self) -> str:
        """The twelve hexadecimal digits at the end of the folder's name."""
        return self.folder.name.rsplit("-", 1)[-1]

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return stage_folder(self.folder).name

    @property
    def _way_out(self) -> str:
        return f"Nothing was changed. To make it again, add rebuild=[{self.key}] to the command. {self.rebuild_hint()}"

    def path(self, name: str) -> Path:
        """Path of a payload file after checking its bytes.

        Raises
        ------
        CorruptArtifact
            If the file is missing, truncated or altered.
        KeyError
            If the artifact never had such a file.
        """
        path = self.folder / name
        self._check(name)
        if name in self._inline and (problem := problem_of_copy(self.folder, self.manifest, name)) is not None:
            raise self._damage(f"{path} {problem}")
        return path

    def _check(self, name: str) -> None:
        if name not in self._checked:
            problem = problem_of(self.folder, self.manifest, name, self._inline.get(name))
            if problem is not None:
                raise self._damage(f"{self.folder / name} {problem}")
            self._checked.add(name)

    @cached_property
    def _inline(self) -> dict[str, list[str]]:
        return held_by(self.manifest)

    def text(self, name: str) -> str:
        """Content of a text file of the payload, which may be in the manifest; checked as by :meth:`path`."""
        self._check(name)
        lines = self._inline.get(name)
        return (self.folder / name).read_text(encoding="utf-8") if lines is None else joined(lines).decode()

    def _damage(self, what: str) -> UserError:
        """Tell damage from an artifact that another process has rebuilt since this one read its manifest."""
        try:
            rebuilt = Artifact(self.folder).manifest != self.manifest
        except UserError:
            rebuilt = False
        if rebuilt:
            return UserError(
                f"{self.folder} was rebuilt by another process while this one read it. Run the same command again."
            )
        return CorruptArtifact(f"{what}. {self._way_out}")

    def has(self, name: str) -> bool:
        """Whether the payload holds a file of this name."""
        return name in self.manifest["files"]

    def verify(self) -> None:
        """Check every payload file, and raise as :meth:`path` does."""
        for name in self.manifest["files"]:
            self.path(name)

    def damages(self) -> Iterator[tuple[str, str]]:
        """Yield (file, what is wrong) for each payload file that is damaged, missing, not readable or extra."""
        files = self.manifest["files"]
        for name in sorted(files):
            try:
                problem = problem_of(self.folder, self.manifest, name, self._inline.get(name))
                if problem is None and name in self._inline:
                    problem = problem_of_copy(self.folder, self.manifest, name)
            except UserError as error:
                problem = str(error)
            if problem is not None:
                yield name, problem
        for name in payload_files(self.folder):
            listed = name in files and (name not in self._inline or name in FOR_PEOPLE)
            if not listed and not Path(name).name.startswith(".nfs"):  # a file server's own
                yield name, "is extra: the manifest does not list it"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The scalars that the stage returned."""
        return json.loads(self.text(METRICS))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that its address holds, by their dotted names."""
        return settings_of(self.text(SETTINGS))

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Record of how it was made; empty if the file is gone or damaged, without fields of another type."""
        record = read_record(self.folder / PROVENANCE) or {}
        return {name: value for name, value in record.items() if isinstance(value, _RECORDED.get(name, object))}

    @property
    def command(self) -> str:
        """The command that makes this artifact."""
        return str(self.provenance.get("command", ""))

    def table(self, name: str) -> pa.Table:
        """Read a Parquet table."""
        import pyarrow.parquet as pq

        return pq.read_table(self.path(name))

    def rows(self, name: str, *, optional: bool = False) -> list[Any]:
        """Read a Parquet table as one dict for each row; with ``optional``, none where the stage wrote no such table.

        Readers give the rows their type, the ``TypedDict`` beside the stage's writer.
        """
        if optional and not self.has(name):
            return []
        return self.table(name).to_pylist()

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Read a safetensors file as numpy arrays."""
        from safetensors.numpy import load_file

        return load_file(self.path(name))

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Read a safetensors file as torch tensors on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path(name))


class Store:
    """All artifacts below one folder.

    Parameters
    ----------
    root : Path
        The store's folder; created on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._former = Listing(root)

    def folder(self, stage: str, slug: str, key: str) -> Path:
        """Name the final folder of an artifact; one that an earlier version named or placed otherwise stays there."""
        name = f"{slug}-{key}"
        if "/" in slug or "\0" in slug:
            raise UserError(f"{slug!r} would leave the store: names of data and experiments hold no slash.")
        folder = Path(os.path.join(self.root, stage, shard_of(key), name))
        if folder.is_dir():
            return folder
        former = self._former.place(stage, slug, key).folder
        there = former != folder and any(path.is_dir() for path in (former, partial_of(former), replaced(former)))
        return former if there else folder

    def named(self, place: str) -> Path:
        """Find an artifact's folder by ``stage/slug-key``, as the provenance of what rests on it names it."""
        stage, _, name = place.partition("/")
        slug, _, key = name.rpartition("-")
        return self.folder(stage, slug, key)

    def newest(self, stage: str, count: int) -> list[Artifact]:
        """Give the artifacts of a stage that were completed last, the newest first."""
        times = [(entry.stat().st_mtime, entry.path) for entry in Listing(self.root).finished(stage)]
        return [Artifact(Path(path)) for _, path in sorted(times, reverse=True)[:count]]

    def finished(self, stage: str) -> list[Path]:
        """List the folders of a stage that carry a complete name."""
        return [Path(entry.path) for entry in Listing(self.root).finished(stage)]

    def state(self, folder: Path) -> str:
        """One of done, running, failed, partial, missing."""
        if folder.is_dir():
            return "done"
        partial = partial_of(folder)
        if current_owner(lock_of(folder)) is not None:
            return "running"
        if self.failure(folder) is not None:
            return "failed"
        return "partial" if partial.is_dir() else "missing"

    def failure(self, folder: Path) -> dict[str, str] | None:
        """Error, traceback and command that a failed build left behind; None if there is no such record."""
        record = read_record(partial_of(folder) / "logs" / FAILURE)
        if record is None or not all(isinstance(record.get(name), str) for name in ("error", "traceback", "command")):
            return None
        return record


def partial_of(folder: Path) -> Path:
    """Folder in which an artifact is under construction."""
    return folder.with_name(folder.name + ".partial")


def lock_of(folder: Path) -> Path:
    """Lock file of an artifact under construction."""
    return folder.with_name(folder.name + ".lock")


def open_partial(folder: Path, scratch: Path | None = None) -> Path:
    """Make the construction folder ready: keep ``scratch``, delete what an earlier attempt left half-written.

    Parameters
    ----------
    folder : Path
        The final folder.
    scratch : Path, optional
        Where to keep checkpoints and tiles, such as a faster file system than the store's; see
        :func:`pipeline.machine.scratch.open_scratch`. Payload is always written next to its final name, so the last
        rename stays atomic.
    """
    partial = start_partial(folder)
    open_scratch(partial, scratch)
    for entry in partial.iterdir():
        if entry.name != SCRATCH:
            remove(entry)
    (partial / "logs").mkdir()
    return partial


def start_partial(folder: Path) -> Path:
    """Make the construction folder exist, as a folder of this store: a link or a file of its name is removed."""
    partial = partial_of(folder)
    if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
        say(f"  {partial} was no folder: it is removed, and what a link led to is left")
        remove(partial)
    partial.mkdir(parents=True, exist_ok=True)
    return partial


def finite_or_none(value: Any) -> Any:
    """Replace NaN and infinity, which JSON cannot express, by None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
