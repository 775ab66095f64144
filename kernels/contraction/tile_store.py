"""Where tiles are stored: in memory, or in a safetensors file with a ledger of finished tiles.

The file ``out`` appears whole, by an atomic rename. Until then tiles live in ``out.partial`` (raw, mapped into memory)
and ``out.ledger``: one line of JSON with the fingerprint and plan, then one line per finished tile, written only after
the tile's bytes were flushed. A killed run therefore continues from its finished tiles with the same plan, and gives
the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kernels.inputs.fingerprints import differences

_NAMES = {torch.float32: "F32", torch.float64: "F64"}
_NUMPY: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype("<f4"), torch.float64: np.dtype("<f8")}


class TileStore:
    """Named arrays that are filled tile by tile.

    Parameters
    ----------
    shapes : dict of str to tuple of int
        Arrays by name.
    dtype : torch.dtype
        float32 or float64.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> None:
        self.shapes, self.dtype = shapes, dtype
        self.arrays = {name: torch.zeros(shape, dtype=dtype) for name, shape in shapes.items()}

    def done(self, key: str) -> bool:
        """Whether a tile was finished by an earlier run."""
        return False

    def finish(self, key: str) -> None:
        """Record that a tile is complete."""


class FileTileStore(TileStore):
    """A :class:`TileStore` in a file, with a ledger.

    Parameters
    ----------
    shapes, dtype
        As for :class:`TileStore`.
    out : Path
        Final ``.safetensors`` file.
    fingerprint : dict
        What the tiles depend on: weights, data, kernel, precision, versions.
    plan : dict
        Tile sizes and forms of a fresh run.
    rank : int
        Process rank; ranks share the arrays' file and write a ledger each.

    Raises
    ------
    ValueError
        When there is already a ledger of other weights, data or settings.
    RuntimeError
        When another process is writing the same file.
    OSError
        When the disk cannot hold the arrays.
    """

    def __init__(
        self,
        shapes: dict[str, tuple[int, ...]],
        dtype: torch.dtype,
        out: Path,
        fingerprint: dict[str, Any],
        plan: dict[str, Any],
        rank: int = 0,
    ) -> None:
        self.shapes, self.dtype, self.out = shapes, dtype, out
        self._rank = rank
        self._data = _partial(out)
        sizes = {name: int(np.prod(shape)) * _NUMPY[dtype].itemsize for name, shape in shapes.items()}
        self._finished = finished_tiles(out, fingerprint)
        self._log = _claim(_ledger(out, rank))
        try:
            if not self._data.exists() or self._data.stat().st_size != sum(sizes.values()):
                self._finished = set()
                self._log.truncate(0)  # entries for tiles that no longer exist must not survive this run either
                with open(self._data, "wb" if rank == 0 else "ab") as file:
                    _reserve(file, sum(sizes.values()))
            self.arrays = {}
            self._maps = []
            offset = 0
            for name, shape in shapes.items():
                mapped = np.memmap(self._data, _NUMPY[dtype], "r+", offset, shape)
                self._maps.append(mapped)
                self.arrays[name] = torch.from_numpy(mapped)
                offset += sizes[name]
            if not os.fstat(self._log.fileno()).st_size:
                self._write({"fingerprint": fingerprint, "plan": plan})
        except BaseException:
            self._log.close()
            raise

    def done(self, key: str) -> bool:
        """Whether a tile was finished by an earlier run."""
        return key in self._finished

    def finish(self, key: str) -> None:
        """Flush the arrays, then record that a tile is complete."""
        for mapped in self._maps:
            mapped.flush()
        self._write({"tile": key})

    def _write(self, entry: dict[str, Any]) -> None:
        self._log.write(json.dumps(entry, sort_keys=True) + "\n")
        self._log.flush()
        os.fsync(self._log.fileno())

    def close(self) -> None:
        """Release the mapped arrays and the ledger."""
        self.arrays = {}
        self._maps = []
        self._log.close()

    def discard(self) -> None:
        """Remove the partial file and every rank's ledger once the result is in place."""
        self.close()
        for path in (_partial(self.out), *_ledgers(self.out)):
            path.unlink(missing_ok=True)


def _claim(ledger: Path) -> IO[str]:
    """Lock a ledger for this process; the lock ends with the process, however that ends."""
    file = open(ledger, "a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RuntimeError(f"another process is writing {ledger}: wait for it, or choose another out=") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):  # a file system that has no locks
            raise
    return file


def _reserve(file: IO[bytes], size: int) -> None:
    """Reserve a file's size on disk now: a full disk under a mapped file would kill the process later."""
    file.truncate(size)
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                file.truncate(0)
                raise OSError(error.errno, f"{os.strerror(error.errno)}: {size / 2**20:.1f} MiB", file.name) from None


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _ledger(out: Path, rank: int) -> Path:
    return out.with_name(f"{out.name}.ledger" if rank == 0 else f"{out.name}.ledger-{rank}")


def _ledgers(out: Path) -> list[Path]:
    return sorted(out.parent.glob(out.name + ".ledger*"))


def _entries(path: Path) -> list[dict[str, Any]]:
    """Lines of a ledger; a last line cut short by a kill does not count."""
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        path.write_text(complete, encoding="utf-8")
    return [json.loads(line) for line in complete.splitlines()]


def finished_tiles(out: Path, fingerprint: dict[str, Any]) -> set[str]:
    """Tiles that earlier runs with the same fingerprint finished."""
    found: set[str] = set()
    for path in _ledgers(out):
        entries = _entries(path)
        if not entries:
            path.unlink()
            continue
        _match(entries[0]["fingerprint"], fingerprint, path)
        found |= {entry["tile"] for entry in entries[1:]}
    return found


def stored_plan(out: Path, fingerprint: dict[str, Any]) -> dict[str, Any] | None:
    """Plan of an unfinished run with the same fingerprint, or None."""
    for path in _ledgers(out):
        entries = _entries(path)
        if entries:
            _match(entries[0]["fingerprint"], fingerprint, path)
            plan: dict[str, Any] = entries[0]["plan"]
            return plan
    return None


def _match(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    differing = differences(stored, wanted)
    if differing:
        pairs = "; ".join(f"{key}: {stored.get(key)} there, {wanted.get(key)} now" for key in differing)
        raise ValueError(f"{path} belongs to another kernel ({pairs}); remove it or choose another out=")


def load_finished(out: Path, fingerprint: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Arrays (mapped) and metadata of a complete ``out`` with this fingerprint, or None if it does not exist.

    Raises
    ------
    ValueError
        When the file holds another kernel.
    """
    if not out.exists():
        return None
    if out.is_dir():
        raise ValueError(f"{out} is a directory; out= names a file")
    try:
        with safe_open(out, "pt") as file:
            metadata = dict(file.metadata() or {})
    except SafetensorError:
        metadata = {}
    if "fingerprint" not in metadata:
        raise ValueError(f"{out} exists and is not a kernel of this library; choose another out=")
    _match(json.loads(metadata["fingerprint"]), fingerprint, out)
    return map_arrays(out), metadata


def map_arrays(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, mapped copy-on-write rather than read."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    found = {}
    kinds = {name: _NUMPY[dtype] for dtype, name in _NAMES.items()}
    for name, entry in header.items():
        if name != "__metadata__":
            start = 8 + size + entry["data_offsets"][0]
            found[name] = torch.from_numpy(np.memmap(path, kinds[entry["dtype"]], "c", start, tuple(entry["shape"])))
    return found


def create_arrays(
    path: Path, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, metadata: dict[str, str]
) -> dict[str, Tensor]:
    """Create a safetensors file of zeros and map its tensors for writing."""
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape)) * _NUMPY[dtype].itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        _reserve(file, 8 + len(text) + offset)
        file.write(len(text).to_bytes(8, "little") + text)
    return {
        name: torch.from_numpy(
            np.memmap(path, _NUMPY[dtype], "r+", 8 + len(text) + header[name]["data_offsets"][0], shape)
        )
        for name, shape in shapes.items()
    }
