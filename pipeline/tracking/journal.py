"""What a tracker was told, kept on disk until its service has it.

The journal of an artifact under construction lies in its scratch folder, so it survives a kill. If the service was not
there at the end, it moves to the finished artifact's logs, and ``stage=sync`` sends it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.machine.deletion import remove
from pipeline.machine.side_files import read_record

FOLDER = "tracking"
_FORM: dict[str, Any] = {"kind": str, "step": (int, type(None)), "name": str, "content": dict}
_LONGEST_NAME = 128
"""Characters of a run's name that every service takes."""
_RUN, _ENTRIES, _DELIVERED = "run.json", "entries.jsonl", "delivered"


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker shows of an artifact, apart from its measurements.

    Attributes
    ----------
    tracker : str
        ``logging.tracker`` of the run.
    experiment, stage, slug, key : str
        What it is.
    nonce : str
        Random mark of its construction: the same after a requeue, a new one when the artifact is rebuilt.
    target : bool
        Whether it is what the command asked for, and not an upstream artifact.
    sync : str
        Command that sends what was kept.
    note : dict
        Hashed configuration, keys and command, and the configuration of the cell.
    cell : str
        What distinguishes it within the experiment; empty for a run of its own.
    """

    tracker: str
    experiment: str
    stage: str
    slug: str
    key: str
    nonce: str
    target: bool
    sync: str
    note: dict[str, Any]
    cell: str = ""

    @property
    def name(self) -> str:
        """What a tracker calls the run: stage, slug and cell; the middle of a long one is left out."""
        name = f"{self.stage} {self.slug}" + (f" ({self.cell})" if self.cell else "")
        half = (_LONGEST_NAME - 3) // 2
        return name if len(name) <= _LONGEST_NAME else f"{name[:half]}...{name[-half:]}"


@dataclass(frozen=True)
class Entry:
    """One thing that a tracker was told.

    Attributes
    ----------
    kind : str
        ``log``, ``image``, ``table`` or ``histogram``.
    step : int or None
        Step of training; None for what belongs to the run as a whole.
    name : str
        What it is called; empty for ``log``, whose values have names of their own.
    content : dict
        JSON-ready content.
    data : bytes or ndarray or None
        A picture, or the values of a histogram.
    """

    kind: str
    step: int | None = None
    name: str = ""
    content: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None


class Journal:
    """Entries of one run in a folder, in the order in which they came.

    Parameters
    ----------
    folder : Path
        Created if it is absent. What an earlier process left in it is read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            remove(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = self._read()

    def _read(self) -> list[dict[str, Any]]:
        path = self.folder / _ENTRIES
        lines: list[dict[str, Any]] = []
        if not path.is_file():
            return []
        for line in path.read_bytes().decode("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            if not self._is_entry(entry):  # a kill or a full disk cut the last line
                self._write(lines)
                break
            lines.append(entry)
        return lines

    def _is_entry(self, line: Any) -> bool:
        """Whether a line has the form of an entry, and the file that it names is in the journal."""
        if not isinstance(line, dict) or not _FORM.keys() <= line.keys():
            return False
        if not all(isinstance(line[name], kinds) for name, kinds in _FORM.items()):
            return False
        file = line.get("file")
        return file is None or (isinstance(file, str) and file == Path(file).name and (self.folder / file).is_file())

    def _write(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / _ENTRIES).write_text(text, encoding="utf-8")

    def __len__(self) -> int:
        """Count the entries."""
        return len(self._lines)

    def append(self, entry: Entry) -> None:
        """Keep an entry."""
        line: dict[str, Any] = {"kind": entry.kind, "step": entry.step, "name": entry.name}
        line["content"] = dict(entry.content)
        if isinstance(entry.data, bytes):
            line["file"] = f"{len(self._lines)}.png"
            (self.folder / line["file"]).write_bytes(entry.data)
        elif entry.data is not None:
            line["file"] = f"{len(self._lines)}.npy"
            np.save(self.folder / line["file"], np.asarray(entry.data), allow_pickle=False)
        with (self.folder / _ENTRIES).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=_plain) + "\n")
        self._lines.append(line)

    def entries(self, start: int = 0) -> list[Entry]:
        """Read the entries from a place on."""
        return [self._entry(line) for line in self._lines[start:]]

    def _entry(self, line: Mapping[str, Any]) -> Entry:
        data: Any = None
        if "file" in line:
            path = self.folder / line["file"]
            data = path.read_bytes() if path.suffix == ".png" else np.load(path, allow_pickle=False)
        return Entry(line["kind"], line["step"], line["name"], line["content"], data)

    def cut(self, step: int) -> None:
        """Forget the entries of a step and later: a continued training tells them again."""
        kept = [line for line in self._lines if line["step"] is None or line["step"] < step]
        if len(kept) < len(self._lines):
            told = [line for line in self._lines[: self.delivered] if line in kept]
            self._lines = kept
            self.delivered = len(told)
            self._write(kept)

    @property
    def delivered(self) -> int:
        """How many entries the service has, as far as an earlier process could tell."""
        path = self.folder / _DELIVERED
        digits = path.read_bytes()[:20] if path.is_file() else b""
        return min(int(digits), len(self._lines)) if digits.isdigit() else 0

    @delivered.setter
    def delivered(self, count: int) -> None:
        (self.folder / _DELIVERED).write_text(str(count), encoding="utf-8")

    def keep(self, run: TrackedRun, folder: Path) -> None:
        """Move the journal to a folder that outlives the construction."""
        (self.folder / _RUN).write_text(json.dumps(dataclasses.asdict(run), default=str), encoding="utf-8")
        shutil.copytree(self.folder, folder)
        self.remove()

    def remove(self) -> None:
        """Delete the journal."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def kept_journals(store: Path) -> dict[Path, TrackedRun]:
    """Journals of finished artifacts whose service was not there, by their folders."""
    found = {}
    inside = f"logs/{FOLDER}/{_RUN}"  # of artifacts by stage and shard, and of earlier versions by stage alone
    for path in sorted([*store.glob(f"*/*/*/{inside}"), *store.glob(f"*/*/{inside}")]):
        try:
            run = TrackedRun(**(read_record(path) or {}))
        except TypeError:
            continue
        if all(type(getattr(run, one.name)).__name__ == str(one.type).partition("[")[0] for one in fields(run)):
            found[path.parent] = run
    return found
