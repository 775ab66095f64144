"""One finished artifact as a reader sees it: metrics, tables and arrays, checked against their digests."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine.artifacts import Artifact
from pipeline.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class StudyArtifact:
    """A finished artifact of a study, read-only; each file is checked against its digest when it is first read.

    Parameters
    ----------
    artifact : Artifact
        As the store has it.
    labels : mapping of str to str
        The cells that share it, as far as they agree.

    Attributes
    ----------
    labels : dict of str to str
        Such as ``{"model": "mlp", "seed": "0"}``; empty where a study has one cell.
    path : Path
        Its folder.
    stage, key, command : str
        What made it, its address, and the command that makes it again.
    """

    def __init__(self, artifact: Artifact, labels: Mapping[str, str]) -> None:
        self._artifact = artifact
        self.labels = dict(labels)

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._artifact.folder

    @property
    def stage(self) -> str:
        """The stage that made it."""
        return self._artifact.stage

    @property
    def key(self) -> str:
        """Its address."""
        return self._artifact.key

    @property
    def command(self) -> str:
        """The command that makes it."""
        return self._artifact.command

    @property
    def metrics(self) -> dict[str, Any]:
        """The numbers that its stage returned."""
        return self._artifact.metrics

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was made: command, commit, versions, machine, times."""
        return self._artifact.provenance

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that its address holds, by their dotted names."""
        return self._artifact.settings

    @property
    def files(self) -> list[str]:
        """Names of its files."""
        return sorted(self._artifact.manifest["files"])

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Its tables, by name of the file without its end; Parquet and CSV."""
        import pandas as pd

        found = {}
        for name in self.files:
            if name.endswith(".parquet"):
                found[name.removesuffix(".parquet")] = self._artifact.table(name).to_pandas()
            elif name.endswith(".csv"):
                found[name.removesuffix(".csv")] = pd.read_csv(io.StringIO(self._artifact.text(name)))
        return found

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays, as ``FILE/ARRAY``; ``ARRAY`` alone where no other file has one of that name.

        Files that may be larger than the memory, such as kernels, are mapped and not read.
        """
        from pipeline.stages.kernel.read import mapped_arrays

        found: dict[str, np.ndarray] = {}
        for name in self.files:
            if not name.endswith(".safetensors"):
                continue
            path = self._artifact.path(name)
            try:
                held = mapped_arrays(path)
            except KeyError:  # of a type that is not mapped, such as images of bytes
                held = self._artifact.arrays(name)
            found |= {f"{name.removesuffix('.safetensors')}/{array}": values for array, values in held.items()}
        times = Counter(name.rpartition("/")[2] for name in found)
        short = {name.rpartition("/")[2]: values for name, values in found.items()}
        return {**found, **{name: values for name, values in short.items() if times[name] == 1}}

    def file(self, name: str) -> Path:
        """Path of one of its files, after its digest was checked.

        Raises
        ------
        UserError
            If there is no such file, or it is damaged.
        """
        if not self._artifact.has(name):
            raise UserError(f"{self.path} has no file {name!r}; it has {', '.join(self.files)}.")
        path = self._artifact.path(name)
        if not path.exists():
            raise UserError(f"{self.path} keeps the small file {name} in its manifest; text({name!r}) gives it.")
        return path

    def text(self, name: str) -> str:
        """Content of one of its text files, such as ``metrics.json``."""
        if not self._artifact.has(name):
            raise UserError(f"{self.path} has no file {name!r}; it has {', '.join(self.files)}.")
        return self._artifact.text(name)

    def __repr__(self) -> str:
        """Say what it is in one line."""
        labels = ", ".join(f"{name} {value}" for name, value in self.labels.items())
        return f"StudyArtifact({self.stage}, {labels + ', ' if labels else ''}key {self.key})"
