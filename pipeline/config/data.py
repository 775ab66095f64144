"""Schema of the ``data`` group: where rows come from, and which view of them a run sees.

``kind``, ``source``, ``columns``, ``hub``, ``packaged``, ``path`` and ``synthetic`` locate the rows; an artifact's
address takes them through :func:`pipeline.data.source_identity`, never as they are spelled. Every other section
describes the view and enters addresses as it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from models.configs import ACTIVATIONS
from models.fields import Entry, Renamed, choice, renamed, setting


@dataclass
class HubConfig:
    """A data set on the Hugging Face hub; ``revision`` is a commit so that the rows cannot move."""

    id: str | None = setting(None, "Repository of the data set, or a folder of yours, such as of images (data=images).")
    name: str | None = setting(None, "Configuration of the repository.")
    revision: str | None = setting(
        None, "Commit; null or a branch: the one that it is at when this machine first uses it."
    )
    splits: dict[str, str] = setting({"train": "train", "test": "test"}, "Our split name to the hub's.")
    rename: dict[str, str] = setting({}, "The hub's column name to ours: image, text, label, domain or group.")
    label_map: dict[int, int] = setting(
        {}, "Old to new label; rows with a label outside the map are dropped and counted."
    )


@dataclass
class PackagedConfig:
    """A data set inside a registry archive that is pinned by sha256."""

    name: str | None = choice(
        "fashion_mnist",
        "mnist_5k",
        "cifar10_fixture",
        "tweets",
        "tweet_pair",
        default=None,
        help="Which data set.",
    )


@dataclass
class PathConfig:
    """The user's own files; a value may be a glob, ``extra`` names further splits such as ``test_ood``."""

    train: str | None = setting(None, "File or glob of the training rows, or a folder of images by class.")
    test: str | None = setting(None, "File or glob of the test rows, or a folder of images by class.")
    val: str | None = setting(
        None, "File or glob of the validation rows, or a folder of images by class; null: data.split.val cuts them."
    )
    extra: dict[str, str] = setting({}, "Further splits: name to file or folder.")
    format: str | None = choice(
        "folder",
        "parquet",
        "npz",
        "idx",
        "cifar_binary",
        "table",
        "csv",
        "jsonl",
        "sentiment140_csv",
        "cola_tsv",
        "lines",
        default=None,
        help="Format of the files; null goes by their content, and of plain text by its name (*.csv, *.tsv, *.txt); "
        "table takes csv, JSON lines or Parquet, whatever the name.",
    )
    delimiter: str = choice(
        "comma",
        "semicolon",
        "tab",
        "auto",
        default="comma",
        help="What separates the columns of a csv; auto: what the line of names has most of.",
    )
    sha256: dict[str, str] = setting({}, "Split name to the expected SHA-256 of its file; other content is refused.")
    rename: dict[str, str] = setting({}, "The files' column name to ours.")
    label_map: dict[int, int] = setting({}, "Old to new label; rows with a label outside the map are dropped.")
    logits: str | None = setting(
        None,
        "data=logits: files of the runs' test outputs, such as 'runs/{seed}.npy', or one (runs, rows, classes).",
    )
    labels: str | None = setting(None, "data=logits: file of the test labels, where the outputs' files lack them.")
    outputs: str = choice("logits", "probabilities", default="logits", help="data=logits: what those files hold.")


@dataclass
class ReadConfig:
    """How values of files and of the hub become rows; decides the stored rows, not only their view."""

    labels: str = choice(
        "numbers",
        "sorted",
        "auto",
        default="numbers",
        help="numbers: labels count 0, 1, 2, ...; sorted: words, identifiers or 1, 2, 3, numbered in sorted order; "
        "auto: words are numbered in sorted order, numbers count 0, 1, 2, ...",
    )
    resize: list[int] | None = setting(
        None, "Height and width that images are scaled to; null refuses images of several sizes.", at_least=1
    )
    white: int | None = setting(
        None,
        "Value of 16-bit gray images that becomes 255, such as 65535; null refuses such images.",
        at_least=255,
        at_most=65535,
    )
    background: int | None = setting(
        None,
        "Gray value behind transparent pixels, such as 255 for white; null refuses images with such pixels.",
        at_least=0,
        at_most=255,
    )
    to_rgb: bool = setting(
        False,
        "Turn CMYK, YCbCr, LAB and HSV images into RGB by plain formulas, without color profiles, not refuse them.",
    )
    profiles: str = choice(
        "ignored",
        "srgb",
        default="ignored",
        help="Color profile in an image file, such as Display P3: ignored takes the values as they are stored, srgb "
        "converts them (also CMYK with a profile).",
    )


_GRID = {"grid": Entry("open", choices=("open", "closed", "gauss"))}
SYNTHETIC_OPTIONS: dict[str, dict[str, Entry]] = {
    **dict.fromkeys(("exp_sin", "exp_3x", "cos_exp_3x"), _GRID),
    "parabola": {
        "train_grid": Entry([12, 8], least=1),
        "test_grid": Entry([23, 22], least=1),
        "flip": Entry(0, least=0),
    },
    "teacher": {
        "features": Entry(1000, least=1),
        "activation": Entry("softplus", choices=ACTIVATIONS),
        "normalized": Entry(True),
        "noise": Entry(0.3),
        "quadratic": Entry(0.2),
        "indices": Entry(1, least=1),
    },
}
"""What ``data.synthetic.options`` takes, by generator."""


@dataclass
class SyntheticConfig:
    """Generated data: functions on a grid, a toy classification, or the two-layer teacher."""

    function: str | None = choice(
        "exp_sin", "exp_3x", "cos_exp_3x", "parabola", "teacher", default=None, help="Which generator."
    )
    n_train: int = setting(200, "Training rows.", at_least=1)
    n_test: int = setting(600, "Test rows.", at_least=1)
    seed: int = setting(0, "Seed of the generator.", at_least=0)
    options: dict[str, Any] = setting({}, "The generator's own options, see pipeline/data/sources/synthetic.py.")


@dataclass
class SubsetConfig:
    """Classes to keep (relabeled 0, 1, ... in the given order) and how many rows of each."""

    classes: list[int] | None = setting(None, "Labels to keep; null keeps all.", at_least=0, filled=True, distinct=True)
    per_class: int | None = setting(
        None, "Training rows of each class, validation rows included; null takes all.", at_least=1
    )
    test_per_class: int | None = setting(None, "Rows of each class in every other split; null takes all.", at_least=1)
    pick: str = choice("random", "first", default="random", help="Which rows are kept; they stay in their order.")
    balance: str = choice(
        "none", "downsample", default="none", help="downsample: as many training rows of each class as the rarest has."
    )


@dataclass
class SplitConfig:
    """Validation share cut from the training rows, stratified; the official test split is kept."""

    val: float = setting(
        0.1,
        "Share of the training rows that become validation rows, where the data set has none of its own.",
        at_least=0,
        below=1,
    )
    test: float = setting(
        0.2, "Share cut for testing before that, where the data set has no official test split.", at_least=0, below=1
    )
    stratify: list[str] = choice("label", "domain", default=["label"], help="Columns that the shares respect.")
    leaks: str = choice(
        "drop",
        "keep",
        "refuse",
        default="drop",
        help="Training and validation rows whose content or group also occurs in a test split, and training rows that "
        "occur among validation rows of their own file.",
    )
    recipe: str | None = choice("cola_pntk", default=None, help="A paper's own split instead of val.")


@dataclass
class TextConfig(Renamed):
    """Normalization of texts, and their tokens."""

    normalize: str = choice("raw", "whitespace", "full", default="raw", help="What is done to texts before masking.")
    mask: list[str] = choice("url", "user", "hashtag", "emoticon", default=[], help="What a placeholder replaces.")
    tokenizer: str = choice(
        "gpt2", "minilm", "hub", "path", default="gpt2", help="Tokenizer; gpt2 and minilm come from pinned archives."
    )
    tokenizer_id: str | None = setting(None, "Repository for tokenizer=hub.", files_if=("tokenizer", "hub"))
    tokenizer_revision: str | None = setting(
        None, "Commit for tokenizer=hub.", commit_of=("tokenizer_id", "tokenizer", "hub")
    )
    tokenizer_path: str | None = setting(None, "Folder for tokenizer=path.", files_if=("tokenizer", "path"))
    max_length: int = setting(64, "Tokens of a text; longer texts are cut.", at_least=1)
    padding: str = choice(
        "max_length", "longest", default="max_length", help="To max_length, or the batch's longest; needs a mask read."
    )
    normalise: str | None = renamed("data.text.normalize")


@dataclass
class ImageConfig:
    """Shape and normalization of images (after division by 255), and augmentation of training rows."""

    pad: int = setting(0, "Black pixels added on each side (28 + 2·2 = 32 for ResNet-18).", at_least=0)
    channels: int | None = setting(None, "3 repeats a gray channel; null leaves images as delivered.", at_least=1)
    mean: list[float] | None = setting(None, "Mean subtracted from each channel, or one for all.")
    std: list[float] | None = setting(None, "Deviation that each channel is divided by, or one for all.", above=0)
    augment: str = choice("none", "crop_flip", default="none", help="Augmentation of the training rows.")
    crop_pad: int = setting(4, "crop_flip: pixels added before the crop.", at_least=0)


POISON_OPTIONS: dict[str, dict[str, Entry]] = {
    "badnets": {"size": Entry(4, least=1), "margin": Entry(3, least=0)},
    "token_trigger": {"token": Entry("cf"), "position": Entry("end", choices=("start", "end"))},
    "label_flip": {"first": Entry(None, least=0)},
    "duplicate": {},
    "trailing_blank": {"splits": Entry(["train"])},
}
"""What ``data.poison.options`` takes, by kind."""


@dataclass
class PoisonConfig:
    """A planted change of the training rows with a recorded mask."""

    kind: str = choice(
        "none",
        "badnets",
        "label_flip",
        "duplicate",
        "token_trigger",
        "trailing_blank",
        default="none",
        help="What is planted.",
    )
    rate: float = setting(0.1, "Share of the rows that are changed.", at_least=0, at_most=1)
    target: int | None = setting(
        4, "Label of the poisoned rows; null lets label_flip draw another label at random.", at_least=0
    )
    seed: int = setting(1234, "Seed of the draws.", at_least=0)
    options: dict[str, Any] = setting(
        {}, "badnets: size, margin; token_trigger: token, position; label_flip: first; trailing_blank: splits."
    )


@dataclass
class DataConfig:
    """One data set and one view of it."""

    name: str = setting("???", "Name of the data set; part of every address.")
    kind: str = choice(
        "image",
        "text",
        "vector",
        "table",
        default="image",
        help="What a row is; table: vector where data.columns names x, else text.",
    )
    source: str = choice(
        "packaged",
        "hub",
        "path",
        "own",
        "synthetic",
        "logits",
        default="packaged",
        help="Where the rows come from; own: the files of data.path, or data.hub.id where that is named and they are "
        "not; logits: no rows, but outputs that another framework wrote.",
    )
    class_names: list[str] | None = setting(
        [],
        "Names of the classes, in the order of their labels; null or []: those of the data set, or numbers.",
        distinct=True,
    )
    columns: dict[str, Any] = setting(
        {},
        "Our names to those of your columns or arrays, such as {text: sentence, label: verdict} or, for numbers, "
        "{x: [height, weight], label: species}; {x: all} takes every other column, y is a target that is no class.",
        keys=("image", "text", "label", "domain", "group", "x", "y"),
    )
    hub: HubConfig = field(default_factory=HubConfig)
    packaged: PackagedConfig = field(default_factory=PackagedConfig)
    path: PathConfig = field(default_factory=PathConfig)
    reference: str | None = setting(
        None, "Short for data.path.extra.reference, such as the file of texts that a shift test compares with."
    )
    sample: str | None = setting(None, "Short for data.path.extra.sample.")
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    read: ReadConfig = field(default_factory=ReadConfig)
    data_seed: int = setting(0, "Seed of subset and split, apart from the model's seed.", at_least=0)
    subset: SubsetConfig = field(default_factory=SubsetConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    text: TextConfig = field(default_factory=TextConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    normalize: str = choice(
        "given",
        "train",
        default="given",
        help="given: images by data.image.mean and std, vectors as they are; train: what is not given there is taken "
        "from the training rows, for each channel or column.",
    )
    poison: PoisonConfig = field(default_factory=PoisonConfig)
    drop: list[int] = setting(
        [], "Sample ids taken out of the training split (leave-k-out).", at_least=0, distinct=True
    )
    keep: list[int] | None = setting(
        None, "The only sample ids left in the training split (linear datamodeling).", at_least=0, distinct=True
    )
    allow_cross_data: bool = setting(False, "Not used any more; kept because addresses hold it.")

    def __post_init__(self) -> None:
        """Settle what other settings decide, and put the files of the shortcuts where the readers look for them."""
        self.class_names = self.class_names or []
        if self.kind == "table":
            self.kind = "vector" if "x" in self.columns else "text"
        for name in ("reference", "sample"):
            if getattr(self, name) is not None:
                self.path = replace(self.path, extra={name: getattr(self, name), **self.path.extra})
        if self.source == "own":
            named = (self.path.train, self.path.test, self.path.val, *self.path.extra.values())
            self.source = "hub" if self.hub.id is not None and not any(named) else "path"
