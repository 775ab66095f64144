"""Schema of the ``data`` group: where rows come from, and which view of them a run sees.

``kind``, ``source``, ``hub``, ``packaged``, ``path`` and ``synthetic`` locate the rows; an artefact's address
takes them through :func:`pipeline.data.source_identity`, never as they are spelt. Every other section
describes the view and enters addresses as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class HubConfig:
    """A data set on the Hugging Face hub; ``revision`` is a commit so that the rows cannot move."""

    id: str | None = None
    name: str | None = None
    revision: str | None = None
    """Commit; null resolves to the newest one, warns and records it."""
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    """Our split name to the hub's."""
    rename: dict[str, str] = field(default_factory=dict)
    """The hub's column name to ours (``image``, ``text``, ``label``, ``domain``, ``group``)."""
    label_map: dict[int, int] = field(default_factory=dict)
    """Old to new label; rows with a label outside the map are dropped and counted."""


@dataclass
class PackagedConfig:
    """A data set inside a registry archive that is pinned by sha256."""

    name: str | None = None


@dataclass
class PathConfig:
    """The user's own files; a value may be a glob, ``extra`` names further splits such as ``test_ood``."""

    train: str | None = None
    test: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    format: str = "parquet"
    """parquet | npz | idx | cifar_binary | csv | sentiment140_csv | cola_tsv | lines."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Split name to the expected SHA-256 of its file; other content is refused."""
    rename: dict[str, str] = field(default_factory=dict)
    label_map: dict[int, int] = field(default_factory=dict)


@dataclass
class SyntheticConfig:
    """Generated data: functions on a grid, a toy classification, or the two-layer teacher."""

    function: str | None = None
    """exp_sin | exp_3x | cos_exp_3x | parabola | teacher."""
    n_train: int = 200
    n_test: int = 600
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class SubsetConfig:
    """Classes to keep (relabelled 0, 1, ... in the given order) and how many rows of each."""

    classes: list[int] | None = None
    per_class: int | None = None
    """Training rows of each class, validation rows included."""
    test_per_class: int | None = None
    pick: str = "random"
    """random | first; kept rows stay in their original order."""
    balance: str = "none"
    """none | downsample: as many training rows of each class as the rarest has."""


@dataclass
class SplitConfig:
    """Validation share cut from the training rows, stratified; the official test split is kept."""

    val: float = 0.1
    test: float = 0.2
    """Share cut for testing before that, only where the data set has no official test split."""
    stratify: list[str] = field(default_factory=lambda: ["label"])
    """Any of label, domain."""
    leaks: str = "drop"
    """drop | keep | refuse: training rows whose content or group also occurs in a test split."""
    recipe: str | None = None
    """A paper's own split instead of ``val``: ``cola_pntk``."""


@dataclass
class TextConfig:
    """Text normalisation and tokenisation."""

    normalise: str = "raw"
    """raw | whitespace | full."""
    mask: list[str] = field(default_factory=list)
    """Any of url, user, hashtag, emoticon."""
    tokenizer: str = "gpt2"
    """gpt2 | minilm (both from pinned archives) | hub | path."""
    tokenizer_id: str | None = None
    tokenizer_revision: str | None = None
    tokenizer_path: str | None = None
    max_length: int = 64


@dataclass
class ImageConfig:
    """Shape and normalisation of images (after division by 255), and training augmentation."""

    pad: int = 0
    """Black pixels added on each side (28 + 2·2 = 32 for ResNet-18)."""
    channels: int | None = None
    """3 repeats a grey channel; null leaves images as delivered."""
    mean: list[float] | None = None
    std: list[float] | None = None
    augment: str = "none"
    """none | crop_flip."""
    crop_pad: int = 4


@dataclass
class PoisonConfig:
    """A planted change of the training rows with a recorded mask."""

    kind: str = "none"
    """none | badnets | label_flip | duplicate | token_trigger | trailing_blank."""
    rate: float = 0.1
    target: int | None = 4
    """Label of the poisoned rows; null lets ``label_flip`` draw another label at random."""
    seed: int = 1234
    options: dict[str, Any] = field(default_factory=dict)
    """badnets: size, margin; token_trigger: token, position; trailing_blank: splits."""


@dataclass
class DataConfig:
    """One data set and one view of it."""

    name: str = "???"
    kind: str = "image"
    """image | text | vector."""
    source: str = "packaged"
    """packaged | hub | path | synthetic."""
    class_names: list[str] = field(default_factory=list)
    hub: HubConfig = field(default_factory=HubConfig)
    packaged: PackagedConfig = field(default_factory=PackagedConfig)
    path: PathConfig = field(default_factory=PathConfig)
    reference: str | None = None
    """data=texts: short for data.path.extra.reference, the file that holds the reference."""
    sample: str | None = None
    """data=texts: short for data.path.extra.sample."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    data_seed: int = 0
    subset: SubsetConfig = field(default_factory=SubsetConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    text: TextConfig = field(default_factory=TextConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    poison: PoisonConfig = field(default_factory=PoisonConfig)
    drop: list[int] = field(default_factory=list)
    """Sample ids taken out of the training split (leave-k-out)."""
    keep: list[int] | None = None
    """The only sample ids left in the training split (linear datamodeling)."""
    allow_cross_data: bool = False
