"""Counter-based random buckets and signs for sketches.

A sketch must be one and the same linear map for every batch size, sample order, process and device. So nothing here
has state: the bucket and the sign of a coordinate are a hash of (seed, stream, counter), where the stream names a
parameter and one of its axes, and the counter is the coordinate. The hash is splitmix64's finalizer (Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) in wrapping 64-bit integers.
"""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

HASH_VERSION = 1
"""Raise this when the same seed would give another map: stored sketches of different versions never mix."""

_GOLDEN = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB


def _signed(word: int) -> int:
    """Read a 64-bit word in two's complement, as torch's int64 does."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


def _shift(x: Int[Tensor, "..."], bits: int) -> Int[Tensor, "..."]:
    """Logical right shift: torch's `>>` copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    x = (x ^ _shift(x, 30)) * _signed(_MIX1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX2)
    return x ^ _shift(x, 31)


def stream_key(seed: int, stream: str) -> int:
    """64-bit key of a named stream under a seed.

    Parameters
    ----------
    seed
        Any Python integer.
    stream
        Name of what is hashed, such as ``"layer1.0.conv1.weight/rows"``.
    """
    digest = hashlib.blake2b(f"{HASH_VERSION}|{seed}|{stream}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def words(key: int, counters: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """One pseudo-random 64-bit word per counter, as int64 in two's complement."""
    return _mix(_mix(counters * _signed(_GOLDEN) + _signed(key)) + _signed(key ^ _GOLDEN))


def buckets_and_signs(
    seed: int, stream: str, counters: Int[Tensor, "..."], dim: int, *, dtype: torch.dtype
) -> tuple[Int[Tensor, "..."], Float[Tensor, "..."]]:
    """Uniform buckets in [0, dim) and uniform signs for coordinates.

    Parameters
    ----------
    seed, stream
        Which hash function.
    counters
        Coordinates, in any order, shape and number.
    dim
        Number of buckets, at most 2**31.
    dtype
        Of the signs.
    """
    word = words(stream_key(seed, stream), counters)
    sign = 1 - 2 * (word & 1)
    # The 32 high bits times dim, shifted: uniform up to dim / 2**32, without a division.
    return (_shift(word, 32) * dim) >> 32, sign.to(dtype)


def sign_matrix(
    seed: int,
    stream: str,
    counters: Int[Tensor, " p"],
    dim: int,
    *,
    dtype: torch.dtype,
) -> Float[Tensor, "p {dim}"]:
    """Independent uniform signs for each (coordinate, output) pair, 64 of them from each hash word.

    Parameters
    ----------
    seed, stream
        Which hash function.
    counters
        Coordinates, in any order and number.
    dim
        Number of outputs.
    dtype
        Of the result.
    """
    blocks = -(-dim // 64)
    index = counters[:, None] * blocks + torch.arange(blocks, device=counters.device)
    word = words(stream_key(seed, stream), index)
    bits = (word[:, :, None] >> torch.arange(64, device=counters.device)) & 1
    return (1 - 2 * bits).reshape(len(counters), 64 * blocks)[:, :dim].to(dtype)
