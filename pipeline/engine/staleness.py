"""Whether an existing artifact was made by the code and from the inputs that are there today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.inventory.layout import stage_folder
from pipeline.errors import UserError
from pipeline.machine.code_digest import changed_files, changed_libraries, in_words, own_digest
from pipeline.machine.deciding_files import decides
from pipeline.machine.provenance import current_commit
from pipeline.machine.side_files import read_record


def staleness(artifact: Artifact) -> str:
    """Say in a few words what differs between then and now; empty where nothing does.

    Only files that the artifact's making has used and that can decide its numbers count, and inputs whose bytes have
    changed under the same address.
    """
    store = Store(stage_folder(artifact.folder).parent)
    return Judge(store).differences(artifact.stage, artifact.provenance)


@dataclass
class Judge:
    """Judges artifacts one after another, and equal lists of files once.

    Attributes
    ----------
    store : Store
        Where they lie.
    payloads : mapping
        Digests of payloads today that are known already, by ``stage/slug-key``; None of a damaged one.
    """

    store: Store
    payloads: Mapping[str, str | None] = field(default_factory=dict)
    _known: dict[tuple[str, int], tuple[Any, str]] = field(default_factory=dict, repr=False)

    def differences(self, stage: str, record: Mapping[str, Any]) -> str:
        """Judge one artifact by its stage and provenance; see :func:`staleness`."""
        try:
            return "; ".join(filter(None, [self._code(record, stage), self._inputs(record)]))
        except (TypeError, ValueError, AttributeError, UserError):  # a damaged record says nothing
            return ""

    def _code(self, record: Mapping[str, Any], stage: str) -> str:
        code = record.get("code")
        if not isinstance(code, dict) or not isinstance(code.get("files"), dict):  # made before this was recorded
            made_at, here = record.get("commit"), current_commit()
            return f"made at commit {made_at[:7]}, same stage VERSION" if made_at and here and made_at != here else ""
        texts: list[str] = []
        if code.get("digest") != own_digest():
            texts += filter(None, [self._changed(stage, code["files"])])
        libraries = code.get("libraries")
        if isinstance(libraries, dict) and (others := changed_libraries(libraries)):
            texts.append(f"made with other libraries: {'; '.join(others)}")
        if during := [name for name in code.get("changed_meanwhile", []) if decides(name, stage)]:
            texts.append(f"made by two states of the code: {in_words(during)} while it was made")
        return "; ".join(texts)

    def _changed(self, stage: str, files: dict[str, str]) -> str:
        memo = (stage, id(files))
        if memo not in self._known:  # the list is kept, so that no other can have its id
            changed = [name for name in changed_files(files) if decides(name, stage)]
            self._known[memo] = (files, f"made by other code: {in_words(changed)}" if changed else "")
        return self._known[memo][1]

    def _inputs(self, record: Mapping[str, Any]) -> str:
        inputs = record.get("inputs")
        if not isinstance(inputs, dict):
            return ""
        names = [name for name, digest in inputs.items() if self._payload(name) not in (None, digest)]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"rests on other bytes than {names[0]} has now{more}" if names else ""

    def _payload(self, name: str) -> str | None:
        return self.payloads[name] if name in self.payloads else _payload_now(self.store.named(name))


def _payload_now(folder: Path) -> str | None:
    """Digest of an artifact's payload today; None where it is gone or damaged, which others tell."""
    try:
        stat = (folder / "manifest.json").stat()
        return _digest_of_state(folder, stat.st_ino, stat.st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


@lru_cache(maxsize=8192)
def _digest_of_state(folder: Path, inode: int, mtime_ns: int) -> str:
    return payload_digest(read_record(folder / "manifest.json") or {})


def payload_digest(manifest: dict[str, Any]) -> str:
    """One digest over the names and contents that a manifest lists."""
    from pipeline.engine.keys import digest

    return digest({name: entry["sha256"] for name, entry in manifest["files"].items()})
