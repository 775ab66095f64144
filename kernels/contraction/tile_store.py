"""Where tiles are stored: in memory, or in a safetensors file with a ledger of finished tiles.

The file ``out`` appears whole, by an atomic rename. Until then tiles live in ``out.partial`` (raw, mapped into memory)
and ``out.ledger``: one line of JSON with the fingerprint and plan, then one line per finished tile, written only after
the tile's bytes were flushed. A killed run therefore continues from its finished tiles with the same plan, and gives
the same bytes. Every line carries a digest, that of a tile also over its numbers: a tile whose bytes, or whose line,
the disk has changed since is computed again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import xxhash

from kernels.inputs.fingerprints import differences

Place = list[Any]
"""Name of an array, or the beginning of several, and start and stop along each axis; plain lists, as JSON has."""
NORMS = ("row_norms:", "column_norms:")
"""What the names of norms begin with; a part's begins otherwise, whatever it is called."""
NAMES = {torch.float32: "F32", torch.float64: "F64"}
NUMPY: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype("<f4"), torch.float64: np.dtype("<f8")}


def is_norms(name: str) -> bool:
    """Whether an array holds the squared norms of one side's samples, rather than a kernel or a part."""
    return name.startswith(NORMS)


class TileStore:
    """Named arrays that are filled tile by tile.

    Parameters
    ----------
    shapes : dict of str to tuple of int
        Arrays by name.
    dtype : torch.dtype
        float32 or float64.
    """

    in_memory = True

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> None:
        self.shapes, self.dtype = shapes, dtype
        self.records: list[dict[str, Any]] = []
        self.arrays = {name: torch.zeros(shape, dtype=dtype) for name, shape in shapes.items()}

    def done(self, key: str) -> bool:
        """Whether a tile was finished by an earlier run."""
        return False

    def cover(self, name: str, *place: slice) -> None:
        """Say what the tile in progress has written: in all arrays that begin with ``name:``.

        An empty name stands for all arrays but those of :data:`NORMS`.
        """

    def finish(self, key: str, record: dict[str, Any] | None = None) -> None:
        """Record that a tile is complete, and what was checked of the passes behind it."""
        if record:
            self.records.append(record)


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

    in_memory = False

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
        self._covered: list[Place] = []
        sizes = {name: int(np.prod(shape)) * NUMPY[dtype].itemsize for name, shape in shapes.items()}
        stored = _matching_ledgers(out, fingerprint)
        own = _ledger(out, rank)
        self._log = _claim(own)
        try:
            whole = self._data.exists() and self._data.stat().st_size == sum(sizes.values())
            if not whole:
                with open(self._data, "wb" if rank == 0 else "ab") as file:
                    reserve(file, sum(sizes.values()))
            self.arrays = {}
            self._maps = []
            offset = 0
            for name, shape in shapes.items():
                mapped = np.memmap(self._data, NUMPY[dtype], "r+", offset, shape)
                self._maps.append(mapped)
                self.arrays[name] = torch.from_numpy(mapped)
                offset += sizes[name]
            self.records = []
            # entries for tiles that no longer exist must not survive this run either
            self._finished = self._sound_tiles(stored) if whole else {}
            mine = stored.get(own)
            kept = [] if mine is None else [tile for tile in mine.tiles if tile["tile"] in self._finished]
            if mine is None or mine.damaged or mine.cut or len(kept) != len(mine.tiles):
                self._log.truncate(0)
                self._write({"fingerprint": fingerprint, "plan": plan})
                for tile in kept:
                    self._write(tile)
        except BaseException:
            self._log.close()
            raise

    def _sound_tiles(self, ledgers: dict[Path, Ledger]) -> dict[str, None]:
        """Tiles whose numbers are still those that were finished, in the order of the ledgers."""
        tiles = [tile for ledger in ledgers.values() for tile in ledger.tiles]
        sound = [tile["tile"] for tile in tiles if self._is_sound(tile)]
        self.records = [tile["record"] for tile in tiles if tile.get("record") and tile["tile"] in sound]
        lost = len(tiles) - len(sound) + sum(ledger.damaged for ledger in ledgers.values())
        if lost:
            warnings.warn(f"damaged tiles of {self.out}, which are computed again: {lost}", stacklevel=5)
        return dict.fromkeys(sound)

    def _is_sound(self, tile: dict[str, Any]) -> bool:
        try:
            return self._digest(tile["tile"], tile["at"], tile.get("record", {})) == tile["digest"]
        except IndexError:  # a damaged line that names more axes than there are
            return False

    def done(self, key: str) -> bool:
        """Whether a tile was finished by an earlier run."""
        return key in self._finished

    def finish(self, key: str, record: dict[str, Any] | None = None) -> None:
        """Flush the arrays, then record that a tile is complete, with the digest of what it covers."""
        for mapped in self._maps:
            mapped.flush()
        at, self._covered = self._covered, []
        record = record or {}
        self._write({"tile": key, "at": at, "record": record, "digest": self._digest(key, at, record)})

    def cover(self, name: str, *place: slice) -> None:
        """Say what the tile in progress has written, see :meth:`TileStore.cover`."""
        entry: Place = [name, [[part.start, part.stop] for part in place]]
        if entry not in self._covered:
            self._covered.append(entry)

    def _digest(self, key: str, at: list[Place], record: dict[str, Any]) -> str:
        """Digest of a tile's name, places, record and numbers."""
        told = [key, at, record] if record else [key, at]
        found = xxhash.xxh3_128(json.dumps(told, sort_keys=True).encode())
        for prefix, place in at:
            for name in sorted(self.arrays):
                if name.startswith(f"{prefix}:") if prefix else not is_norms(name):
                    region = self.arrays[name].numpy()[tuple(slice(*part) for part in place)]
                    found.update(np.ascontiguousarray(region).data)
        return found.hexdigest()

    def _write(self, entry: dict[str, Any]) -> None:
        if "plan" in entry:
            entry = entry | {"digest": _line_digest(entry)}
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


def reserve(file: IO[bytes], size: int) -> None:
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


@dataclass(frozen=True)
class Ledger:
    """What a ledger says.

    Attributes
    ----------
    fingerprint, plan : dict
        Of the run that began it.
    tiles : list of dict
        Finished tiles: ``tile`` (its name), ``at`` (what it covers) and ``digest``.
    damaged : int
        Complete lines that could not be read.
    cut : bool
        Whether a kill has cut the last line short.
    """

    fingerprint: dict[str, Any]
    plan: dict[str, Any]
    tiles: list[dict[str, Any]]
    damaged: int
    cut: bool


def _line_digest(header: dict[str, Any]) -> str:
    fields = json.loads(json.dumps({name: header[name] for name in ("fingerprint", "plan")}))  # as it is read back
    return xxhash.xxh3_128(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def read_ledger(path: Path) -> Ledger | None:
    """Read a ledger; None where its first line is damaged. A last line cut short by a kill does not count."""
    *lines, last = path.read_bytes().split(b"\n")
    header, *tiles = [_parsed(line) for line in lines] or [None]
    try:
        if header is None or header["digest"] != _line_digest(header):
            return None
    except (KeyError, TypeError):
        return None
    sound = [tile for tile in tiles if tile is not None and _is_tile(tile)]
    return Ledger(header["fingerprint"], header["plan"], sound, len(tiles) - len(sound), bool(last))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _is_tile(entry: dict[str, Any]) -> bool:
    """Whether a line has the form of a tile's; its digest is over the numbers too, so it is compared later."""
    try:
        places = [(name, [(start, stop) for start, stop in place]) for name, place in entry["at"]]
    except (KeyError, TypeError, ValueError):
        return False
    numbers = [number for _, place in places for pair in place for number in pair]
    named = [entry["tile"], entry["digest"], *(name for name, _ in places)]
    whole = isinstance(entry.get("record", {}), dict) and all(isinstance(name, str) for name in named)
    return whole and all(type(number) is int for number in numbers)


def _matching_ledgers(out: Path, fingerprint: dict[str, Any]) -> dict[Path, Ledger]:
    """Ledgers of earlier runs; a damaged one is absent, and one of another kernel is refused."""
    found = {path: ledger for path in _ledgers(out) if (ledger := read_ledger(path)) is not None}
    for path, ledger in found.items():
        match(ledger.fingerprint, fingerprint, path)
    return found


def stored_records(out: Path) -> list[dict[str, Any]]:
    """Read what every process has recorded about the passes behind the tiles that it finished."""
    ledgers = [ledger for path in _ledgers(out) if (ledger := read_ledger(path)) is not None]
    return [tile["record"] for ledger in ledgers for tile in ledger.tiles if tile.get("record")]


def finished_tiles(out: Path, fingerprint: dict[str, Any]) -> set[str]:
    """Tiles that earlier runs with the same fingerprint finished, as their ledgers say."""
    return {tile["tile"] for ledger in _matching_ledgers(out, fingerprint).values() for tile in ledger.tiles}


def stored_plan(out: Path, fingerprint: dict[str, Any]) -> dict[str, Any] | None:
    """Plan of an unfinished run with the same fingerprint, or None."""
    return next((ledger.plan for ledger in _matching_ledgers(out, fingerprint).values()), None)


def match(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Refuse a file or ledger of another kernel."""
    differing = differences(stored, wanted)
    if differing:
        pairs = "; ".join(f"{key}: {stored.get(key)} there, {wanted.get(key)} now" for key in differing)
        raise ValueError(f"{path} belongs to another kernel ({pairs}); remove it or choose another out=")
