"""``rebuild=``: which artifacts of a run are to be made again, and which of them this request has made already.

Nothing is deleted first. An artifact that is to be rebuilt counts as absent until it carries the request's mark, which
its provenance gets when the new one takes the old one's place. So a killed request continues where it stopped.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.engine.artifacts import Artifact
from pipeline.engine.graph import Node
from pipeline.engine.keys import digest
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError, storage_error
from pipeline.machine.code_digest import own_digest
from pipeline.machine.side_files import read_record

SWEEP = "SEEDSCOPE_SWEEP"
"""Environment variable that all jobs of one sweep share: what one of them rebuilt, the others take."""
NOTE = ".rebuild-"
"""Beginning of the name of a file in the store that remembers a request until it is done."""
_KEY = re.compile(r"[0-9a-f]{12}")


@dataclass
class Rebuild:
    """What ``rebuild=`` asks for.

    Attributes
    ----------
    words : frozenset of str
        Keys, and names of stages.
    request : str
        Mark of this request, the same when it continues after a kill and another one when it is made anew.
    """

    words: frozenset[str] = frozenset()
    request: str = ""
    _covered: dict[str, bool] = field(default_factory=dict, repr=False)
    _note: Path | None = field(default=None, repr=False)

    def covers(self, node: Node) -> bool:
        """Whether an artifact is named, or rests on one that is."""
        if not self.words:
            return False
        if node.key not in self._covered:
            named = bool({node.key, node.stage.name} & self.words)
            self._covered[node.key] = named or any(self.covers(upstream) for upstream in node.upstream())
        return self._covered[node.key]

    def has(self, node: Node, folder: Path) -> bool:
        """Whether an artifact exists, and was made for this request if the request covers it."""
        if not folder.is_dir():
            return False
        return not self.covers(node) or Artifact(folder).provenance.get("rebuild") == self.request

    def check(self, nodes: Collection[Node], more: bool) -> list[str]:
        """Return the words that match nothing in a job of a sweep, whose jobs share one command.

        Parameters
        ----------
        nodes : collection of Node
            Everything that the target rests on, and the target.
        more : bool
            Whether the run may meet artifacts that are known only when it gets there.

        Raises
        ------
        UserError
            If a word is neither a key nor a stage, or matches nothing of a single run.
        """
        unknown = sorted(word for word in self.words if word not in STAGES and not _KEY.fullmatch(word))
        if unknown:
            raise UserError(
                f"rebuild=[{','.join(unknown)}]: neither keys (12 hexadecimal digits) nor stages. "
                f"Stages: {', '.join(STAGES)}."
            )
        stages, keys = {node.stage.name for node in nodes}, {node.key for node in nodes}
        absent = sorted(word for word in self.words - stages - keys if word in STAGES or not more)
        if absent and SWEEP not in os.environ:
            order = [name for name in STAGES if name in stages]
            raise UserError(
                f"rebuild=[{','.join(absent)}]: no artifact of this run has that key or stage. Its stages are "
                f"{', '.join(order)}; stage=status lists its keys."
            )
        return absent

    def open(self, store: Path, target: Node) -> None:
        """Begin the request, or continue one of the same words, target and code that was stopped."""
        if SWEEP in os.environ:
            self.request = os.environ[SWEEP]
            return
        self._note = store / f"{NOTE}{digest([sorted(self.words), target.key])}.json"
        record = {"request": uuid.uuid4().hex[:12], "code": own_digest()}
        earlier = read_record(self._note) or {}
        if earlier.get("code") == record["code"] and isinstance(earlier.get("request"), str):
            self.request = earlier["request"]
            return
        self.request = record["request"]
        try:
            store.mkdir(parents=True, exist_ok=True)
            written = self._note.with_suffix(f".{os.getpid()}")
            written.write_text(json.dumps(record), encoding="utf-8")
            written.replace(self._note)
        except OSError as error:
            if (plain := storage_error(error, store)) is not None:
                raise plain from error
            raise

    def close(self) -> None:
        """End the request: the same command would rebuild again."""
        if self._note is not None:
            self._note.unlink(missing_ok=True)


def typed_words(words: Sequence[str], overrides: Sequence[str]) -> frozenset[str]:
    """Give the words of ``rebuild=`` as they were typed: to Hydra, a key such as ``12e456789012`` is a number.

    Examples
    --------
    >>> sorted(typed_words(["train", "inf"], ["seed=1", "rebuild=[train,12e456789012]"]))
    ['12e456789012', 'train']
    """
    typed = [item.partition("=")[2] for item in overrides if item.lstrip("+").startswith("rebuild=")]
    return frozenset(re.findall(r"\w+", typed[-1]) if typed else words)


def words_of(nodes: Sequence[Node]) -> str:
    """Give the override that rebuilds the stages of some artifacts: ``'rebuild=[prepare,train]'``."""
    found = {node.stage.name for node in nodes}
    return f"'rebuild=[{','.join(name for name in STAGES if name in found)}]'"
