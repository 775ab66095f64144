"""What a finished artifact says of itself, in one piece: when and how it was made, how large it is, what came out."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.engine.artifacts import Artifact
from pipeline.engine.inventory.inline import METRICS, SETTINGS, settings_of
from pipeline.engine.staleness import payload_digest
from pipeline.errors import UserError


@dataclass(frozen=True)
class Record:
    """Of one finished artifact.

    Attributes
    ----------
    stage, name : str
        Its address: the stage, and slug and key, which are the folder's name.
    path : str
        The folder in which it lies.
    made : float
        When it was completed, in seconds since 1970.
    version : int
        VERSION of its stage.
    size : int
        Bytes of its payload.
    payload : str
        Digest over the names and contents of its payload.
    provenance : dict
        How it was made.
    tables : tuple of str
        Names of its Parquet files.
    problem : str
        Why its manifest, settings or metrics cannot be read; empty where they can.
    """

    stage: str
    name: str
    path: str
    made: float
    version: int = 0
    size: int = 0
    payload: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)
    problem: str = ""
    settings_text: str = field(default="", repr=False)
    metrics_text: str = field(default="{}", repr=False)
    tables: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.path)

    @property
    def key(self) -> str:
        """The twelve hexadecimal digits at the end of the name."""
        return self.name.rpartition("-")[2]

    @property
    def address(self) -> str:
        """Stage and name, as the provenance of what rests on it names it."""
        return f"{self.stage}/{self.name}"

    @property
    def command(self) -> str:
        """The command that makes it; empty where that is not recorded."""
        return str(self.provenance.get("command", ""))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that its address holds, by their dotted names."""
        return settings_of(self.settings_text)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What its stage returned."""
        return json.loads(self.metrics_text)


def record_of(artifact: Artifact, changed: float) -> Record:
    """Read the record of a finished artifact.

    Parameters
    ----------
    artifact : Artifact
        The artifact.
    changed : float
        When its folder was changed last; counts where its provenance does not say when it was completed.
    """
    stage, name = artifact.stage, artifact.folder.name
    made = _ended(artifact.provenance) or changed
    try:
        manifest, problem = artifact.manifest, ""
        digest = payload_digest(manifest)
    except UserError as error:
        return Record(stage, name, str(artifact.folder), made, problem=str(error), provenance=artifact.provenance)
    settings, metrics = "", "{}"
    try:
        settings = artifact.text(SETTINGS) if artifact.has(SETTINGS) else ""
        metrics = artifact.text(METRICS) if artifact.has(METRICS) else "{}"
    except (UserError, ValueError, KeyError) as error:
        problem = str(error)
    return Record(
        stage,
        name,
        str(artifact.folder),
        made,
        version=manifest["version"] if isinstance(manifest.get("version"), int) else 0,
        size=sum(entry["bytes"] for entry in manifest["files"].values()),
        payload=digest,
        provenance=artifact.provenance,
        problem=problem,
        settings_text=settings,
        metrics_text=metrics,
        tables=tuple(sorted(name for name in manifest["files"] if name.rpartition(".")[2] == "parquet")),
    )


def _ended(provenance: Mapping[str, Any]) -> float | None:
    """When it was completed, as its provenance says; a copied folder has another time."""
    try:
        return datetime.datetime.fromisoformat(provenance["ended"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return None
