"""Batches and kernel inputs of one view of a data set, for training and for every stage after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from models.logits import Batch
from pipeline.config.data import DataConfig
from pipeline.config.run import RunConfig
from pipeline.data.errors import DataError, refuse_unfit
from pipeline.data.images import crop_and_flip, normalize_images, normalize_vectors
from pipeline.data.view import DataView, Split, load_view
from pipeline.engine.artifacts import Artifact
from pipeline.machine.arithmetic import network_dtype
from pipeline.machine.folders import user_path


@dataclass(frozen=True)
class KernelInputs:
    """Un-augmented rows of one split in the form that a network and the kernel engine take.

    Attributes
    ----------
    inputs : Tensor or dict of str to Tensor
        Normalized images (n, c, h, w) or vectors (n, d); for texts ``input_ids`` and ``attention_mask`` (n, t).
    ids : Tensor of int64, shape (n,)
        Sample ids.
    labels : Tensor
        int64 labels (n,), or regression targets (n, k).
    """

    inputs: Tensor | dict[str, Tensor]
    ids: Int64[Tensor, " n"]
    labels: Tensor


class DataModule:
    """In-memory splits of one data set with everything that turns rows into tensors.

    Parameters
    ----------
    view : DataView
        The rows.
    config : DataConfig
        Normalization, augmentation and tokenization.
    cache : Path
        Folder of tokenizer archives (``paths.cache``).
    dtype : torch.dtype
        Of images, vectors and regression targets.

    Examples
    --------
    >>> pixels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    >>> rows = Split(ids=torch.arange(4), inputs=pixels, targets=torch.tensor([0, 1, 0, 1]))
    >>> view = DataView("image", {"train": rows}, n_classes=2, class_names=["cat", "dog"], fingerprint="")
    >>> data = DataModule(view, DataConfig(), cache=Path("data_cache"))
    >>> batch = data.batch("train", [0, 2])
    >>> batch["image"].shape, batch["label"], batch["id"]
    (torch.Size([2, 1, 8, 8]), tensor([0, 0]), tensor([0, 2]))
    """

    def __init__(self, view: DataView, config: DataConfig, cache: Path, dtype: torch.dtype = torch.float32) -> None:
        refuse_unfit("data.image", config.image)
        self.view = view
        self.config = _with_scale(config, view)
        self.cache = cache
        self.dtype = dtype
        self._tokens: dict[str, dict[str, Tensor]] = {}

    @classmethod
    def load(cls, folder: Path, config: DataConfig, cache: Path, dtype: torch.dtype = torch.float32) -> DataModule:
        """Open a finished prepare artifact under the view of a configuration."""
        return cls(load_view(folder, config), config, cache, dtype)

    @property
    def kind(self) -> str:
        """``image``, ``text`` or ``vector``."""
        return self.view.kind

    @property
    def splits(self) -> list[str]:
        """Names of the splits, such as train, val, test, test_ood."""
        return list(self.view.splits)

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 for regression."""
        return self.view.n_classes

    @property
    def class_names(self) -> list[str]:
        """One name per class."""
        return self.view.class_names

    @property
    def n_targets(self) -> int:
        """Width of the output: the number of classes, of regression targets, or 2 where nothing is labeled."""
        targets = next(iter(self.view.splits.values())).targets
        return self.n_classes or (int(targets.shape[1]) if targets.ndim == 2 else 2)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (c, h, w), (d,), or (max_length,) for texts."""
        inputs = next(iter(self.view.splits.values())).inputs
        return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else (self.config.text.max_length,)

    @property
    def fingerprint(self) -> str:
        """Content hash of the prepared data set."""
        return self.view.fingerprint

    @property
    def augments(self) -> bool:
        """Whether training batches are augmented and so need a generator."""
        return self.kind == "image" and self.config.image.augment != "none"

    @cached_property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer of a text data set, right-padding, with a padding token."""
        from pipeline.data.tokenize import load_tokenizer

        return load_tokenizer(self.config.text, self.cache)

    def split(self, name: str) -> Split:
        """Rows of a split.

        Raises
        ------
        DataError
            If the view has no split of that name.
        """
        if name not in self.view.splits:
            raise DataError(f"data={self.config.name} has no split {name!r}; it has {', '.join(self.splits)}.")
        return self.view.splits[name]

    def size(self, name: str) -> int:
        """Count the rows of a split."""
        return len(self.split(name))

    def ids(self, name: str) -> Int64[Tensor, " n"]:
        """Sample ids of a split."""
        return self.split(name).ids

    def places(self, name: str, ids: Int64[Tensor, " m"]) -> Int64[Tensor, " m"]:
        """Find the positions of sample ids inside a split that holds them all."""
        every = self.ids(name)
        order = every.argsort()
        return order[torch.searchsorted(every[order], ids)]

    def labels(self, name: str) -> Tensor:
        """Labels (n,) or regression targets (n, k) of a split."""
        targets = self.split(name).targets
        return targets.to(self.dtype) if targets.is_floating_point() else targets

    def injected(self, name: str) -> Bool[Tensor, " n"]:
        """Mask of the rows that a poison recipe changed; all false without a recipe."""
        split = self.split(name)
        return torch.zeros(len(split), dtype=torch.bool) if split.injected is None else split.injected

    def count_cut(self, name: str) -> int:
        """Count the texts of a split that are longer than ``data.text.max_length`` tokens and lose their end."""
        from pipeline.data.tokenize import count_cut

        inputs = self.split(name).inputs
        return 0 if isinstance(inputs, Tensor) else count_cut(self.tokenizer, inputs, self.config.text.max_length)

    def batch(self, name: str, indices: Sequence[int] | Tensor, generator: torch.Generator | None = None) -> Batch:
        """Build a batch.

        Parameters
        ----------
        name : str
            Split.
        indices : sequence of int or Tensor of int64
            Positions inside the split.
        generator : torch.Generator, optional
            Random stream of the augmentation. Only the ``train`` split is augmented, and only when a generator
            is given; every other use sees rows as they are.

        Returns
        -------
        dict of str to Tensor
            Images ``{image, label, id}``; texts ``{input_ids, attention_mask, label, id}``; vectors
            ``{x, y, id}``, with ``label`` in place of ``y`` where the targets are classes. Texts without labels
            have label -1.
        """
        split = self.split(name)
        rows = torch.as_tensor(indices, dtype=torch.int64)
        batch = self._inputs(name, rows, generator if name == "train" else None)
        batch["y" if split.targets.is_floating_point() else "label"] = self.labels(name)[rows]
        batch["id"] = split.ids[rows]
        return batch

    def kernel_inputs(self, name: str, limit: int | None = None) -> KernelInputs:
        """Rows of a split without augmentation, at most ``limit`` of them.

        The chosen rows follow from the view alone: the first ones of every class in equal numbers (evenly
        spaced ones for regression), in the order of the view.
        """
        rows = self._spread(name, limit)
        if self.kind == "text":
            # Splits of one width, whatever their texts, since kernels and features compare them position by position.
            tokens = self._tokenized(name)
            inputs: Tensor | Batch = {key: values[rows, : self._longest] for key, values in tokens.items()}
        else:
            inputs = next(iter(self._inputs(name, rows, None).values()))
        return KernelInputs(inputs, self.ids(name)[rows], self.labels(name)[rows])

    def _spread(self, name: str, limit: int | None) -> Tensor:
        n = self.size(name)
        if limit is None or limit >= n:
            return torch.arange(n)
        if not self.n_classes:
            return torch.linspace(0, n - 1, limit).round().to(torch.int64)
        labels = self.split(name).targets
        in_class = torch.empty(n, dtype=torch.int64)
        for value in labels.unique():
            rows = (labels == value).nonzero()[:, 0]
            in_class[rows] = torch.arange(len(rows))
        return in_class.argsort(stable=True)[:limit].sort().values

    def _inputs(self, name: str, rows: Tensor, generator: torch.Generator | None) -> Batch:
        inputs = self.split(name).inputs
        if not isinstance(inputs, Tensor):
            from pipeline.data.tokenize import without_padding

            chosen = {key: values[rows] for key, values in self._tokenized(name).items()}
            return chosen if self.config.text.padding == "max_length" else without_padding(chosen)
        if self.kind == "vector":
            return {"x": normalize_vectors(inputs[rows], self.view.scale).to(self.dtype)}
        images, image = inputs[rows], self.config.image
        if generator is not None and self.augments:
            images = crop_and_flip(images, image.crop_pad, generator)
        return {"image": normalize_images(images, image.mean, image.std, self.dtype)}

    @cached_property
    def _longest(self) -> int:
        """Tokens of a row of kernel inputs: those of the longest text of all splits, where padding is cut."""
        if self.config.text.padding == "max_length":
            return self.config.text.max_length
        masks = [self._tokenized(name)["attention_mask"] for name in self.splits]
        return max(int(mask.sum(1).max()) for mask in masks if len(mask))

    def _tokenized(self, name: str) -> dict[str, Tensor]:
        if name not in self._tokens:
            from pipeline.data.tokenize import encode_texts

            texts = self.split(name).inputs
            assert not isinstance(texts, Tensor)
            self._tokens[name] = encode_texts(self.tokenizer, texts, self.config.text.max_length)
        return self._tokens[name]


def _with_scale(config: DataConfig, view: DataView) -> DataConfig:
    """Give images the mean and deviation of the training rows where the settings give none."""
    if view.scale is None or view.kind != "image":
        return config
    mean, std = view.scale
    image = config.image
    return replace(
        config,
        image=replace(
            image,
            mean=mean if image.mean is None else image.mean,
            std=std if image.std is None else image.std,
        ),
    )


def open_data(config: RunConfig, prepared: Artifact) -> DataModule:
    """Open the prepared rows under the view and precision of a run, after checking their bytes."""
    prepared.verify()
    dtype = network_dtype(config.numerics.precision)
    return DataModule.load(prepared.folder, config.data, user_path(config.paths.cache), dtype)
