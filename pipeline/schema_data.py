"""Schema of the ``data`` group: where rows come from, and which view of them a run sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class HubConfig:
    """A data set on the Hugging Face hub; ``revision`` is a commit so that the rows cannot move."""

    id: str | None = None
    name: str | None = None
    revision: str | None = None
    rename: dict[str, str] = field(default_factory=dict)
    label_map: dict[int, int] = field(default_factory=dict)


@dataclass
class PackagedConfig:
    """A data set inside a registry archive, pinned by sha256; ``pad`` and ``channels`` fit image nets."""

    name: str | None = None
    pad: int = 0
    channels: int = 1


@dataclass
class PathConfig:
    """The user's own files; ``extra`` names further splits such as a shifted test set."""

    train: str | None = None
    test: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    format: str = "parquet"
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass
class SyntheticConfig:
    """Generated data: regression targets on a grid, or the two-layer teacher."""

    function: str | None = None
    n_train: int = 200
    n_test: int = 600
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class SubsetConfig:
    """Classes to keep (relabelled 0, 1, ... in the given order) and how many rows of each."""

    classes: list[int] | None = None
    per_class: int | None = None
    test_per_class: int | None = None
    pick: str = "random"


@dataclass
class SplitConfig:
    """Validation share cut from the training rows, stratified; the official test split is kept."""

    val: float = 0.1
    stratify: list[str] = field(default_factory=lambda: ["label"])


@dataclass
class TextConfig:
    """Text normalisation and tokenisation."""

    normalise: str = "raw"
    mask: list[str] = field(default_factory=list)
    tokenizer: str = "gpt2"
    tokenizer_path: str | None = None
    max_length: int = 64


@dataclass
class ImageConfig:
    """Pixel normalisation (after division by 255) and training augmentation."""

    mean: list[float] | None = None
    std: list[float] | None = None
    augment: str = "none"


@dataclass
class PoisonConfig:
    """A planted change of the training rows with a recorded mask."""

    kind: str = "badnets"
    rate: float = 0.1
    target: int = 4
    seed: int = 1234
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """One data set and one view of it."""

    name: str = "???"
    kind: str = "image"
    source: str = "packaged"
    hub: HubConfig = field(default_factory=HubConfig)
    packaged: PackagedConfig = field(default_factory=PackagedConfig)
    path: PathConfig = field(default_factory=PathConfig)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    data_seed: int = 0
    subset: SubsetConfig = field(default_factory=SubsetConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    text: TextConfig = field(default_factory=TextConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    poison: PoisonConfig | None = None
    drop: list[int] = field(default_factory=list)
    keep: list[int] | None = None
    allow_cross_data: bool = False
