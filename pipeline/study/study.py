"""A study as a notebook sees it: one object that finds results, artifacts, kernels and logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.study.entries import Entries, Entry
from pipeline.study.stored import StudyArtifact

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from pipeline.study.kernel_array import StudyKernel

_SHOWN = 8
"""Cells that a message lists."""


class Study:
    """What commands have made of a study, read-only; made by :func:`pipeline.open_study`.

    Every method reads anew, so that a study that is still being made can be looked at again and again, also from
    several threads.

    Parameters
    ----------
    name : str
        Of the experiment, report or store.
    store : Path
        Its store.
    entries : Entries
        Where its artifacts are found.

    Attributes
    ----------
    cells : list of dict of str to str
        Labels of every cell, such as ``[{"model": "mlp", "seed": "0"}, ...]``.
    """

    def __init__(self, name: str, store: Path, entries: Entries) -> None:
        self.name = name
        self.store = store
        self._entries = entries

    @property
    def cells(self) -> list[dict[str, str]]:
        """Labels of every cell."""
        return [dict(labels) for labels in self._entries.cells]

    def artifacts(self, stage: str, **labels: object) -> list[StudyArtifact]:
        """Finished artifacts of a stage, in the order of the cells.

        Parameters
        ----------
        stage : str
            Such as ``train``.
        **labels
            Labels of cells, such as ``seed=0``; those that are not named may be any.
        """
        found = self._entries.of(stage, self._words(labels))
        return [StudyArtifact(entry.artifact, entry.labels) for entry in found if entry.artifact is not None]

    def artifact(self, stage: str, **labels: object) -> StudyArtifact:
        """Give the one artifact of a stage in the cells with these labels.

        Raises
        ------
        UserError
            If there are several, with their labels; if it is not made, with the command that makes it.
        """
        return StudyArtifact(*self._one(stage, labels))

    def kernel(self, split: str = "train", **labels: object) -> StudyKernel:
        """Give a stored kernel with the ids and labels of its samples.

        Parameters
        ----------
        split : str
            ``train`` for the square of training points, else a test split (test x train).
        **labels
            Labels of a cell.

        Returns
        -------
        StudyKernel
            An array, mapped from its file; ``row_ids``, ``column_ids``, ``row_labels``, ``column_labels``.
        """
        from pipeline.study.kernel_array import read_kernel

        artifact, _ = self._one("kernel", labels)
        return read_kernel(artifact, split)

    def logits(self, split: str = "test", **labels: object) -> dict[str, np.ndarray]:
        """Give the outputs of every trained network on a split, by what tells the runs apart (for ``compare_runs``).

        Parameters
        ----------
        split : str
            Such as ``test``.
        **labels
            Labels of cells; those that are not named may be any.

        Returns
        -------
        dict of str to ndarray, shape (n, C)
            Such as ``{"seed 0": ..., "seed 1": ...}``.

        Raises
        ------
        UserError
            If one of the trainings is not there, with the command that makes it; if the rows of two runs differ.
        """
        return {name: arrays[f"{split}.logits"] for name, arrays in self._outputs(split, labels).items()}

    def labels(self, split: str = "test", **labels: object) -> np.ndarray:
        """Classes (or targets) of the rows of a split, in the order of :meth:`logits`."""
        arrays = next(iter(self._outputs(split, labels).values()))
        return arrays[f"{split}.labels"] if f"{split}.labels" in arrays else arrays[f"{split}.targets"]

    def ids(self, split: str = "test", **labels: object) -> np.ndarray:
        """Sample ids of the rows of a split, in the order of :meth:`logits`."""
        return next(iter(self._outputs(split, labels).values()))[f"{split}.ids"]

    @property
    def results(self) -> pd.DataFrame:
        """Every number of every finished artifact, one row each, with labels, settings, keys and dates.

        The columns are those of :func:`pipeline.results.read_results`: ``stage``, the labels, the settings that differ,
        ``table``, ``row``, ``entry``, ``quantity``, ``value``, ``key`` and ``made``. Reading many artifacts for the
        first time brings the store's index up to date, which is all that a study ever writes.
        """
        from pipeline.engine.artifacts import Store
        from pipeline.engine.inventory.listing import Listing
        from pipeline.results.chosen import choose
        from pipeline.results.table import tidy

        if not self.store.is_dir():
            raise UserError(f"{self.store} is not there, so that {self.name} has no results yet.")
        entries = self._entries.finished(Listing(self.store).stages())
        labels = {entry.artifact.key: entry.labels for entry in entries if entry.artifact is not None}
        chosen = choose(Store(self.store))
        chosen.records = [record for record in chosen.records if record.key in labels]
        chosen.labels = labels
        return tidy(chosen).to_pandas()

    def _outputs(self, split: str, labels: Mapping[str, object]) -> dict[str, dict[str, np.ndarray]]:
        import numpy as np

        from pipeline.stages.train.read import read_final_outputs

        entries = self._all("train", labels)
        names = _names([entry.labels for entry, _ in entries])
        found: dict[str, dict[str, Any]] = {}
        for name, (_, artifact) in zip(names, entries, strict=True):
            arrays = read_final_outputs(artifact)
            if f"{split}.logits" not in arrays:
                held = [one.removesuffix(".logits") for one in arrays if one.endswith(".logits")]
                raise UserError(
                    f"The outputs in {artifact.folder} have no split {split!r}; they have {', '.join(held)}."
                )
            first = next(iter(found.values()), arrays)
            if not np.array_equal(arrays[f"{split}.ids"], first[f"{split}.ids"]):
                raise UserError(
                    f"{names[0]} and {name} have other rows of {split!r}, so that their outputs do not compare row by "
                    "row; choose runs of one data set by their labels."
                )
            found[name] = arrays
        return found

    def _all(self, stage: str, labels: Mapping[str, object]) -> list[tuple[Entry, Any]]:
        """Give every artifact of a stage in the cells with these labels, all of them finished."""
        entries = self._entries.of(stage, self._words(labels))
        missing = [entry for entry in entries if entry.artifact is None]
        if missing:
            raise UserError(self._unfinished(stage, missing[0], len(missing), len(entries)))
        if not entries:
            raise UserError(
                f"{self.name} has no artifact of stage {stage}{_shown(self._words(labels))} in {self.store}."
            )
        return [(entry, entry.artifact) for entry in entries]

    def _one(self, stage: str, labels: Mapping[str, object]) -> tuple[Any, dict[str, str]]:
        entries = self._entries.of(stage, self._words(labels))
        if len(entries) > 1:
            cells = [entry.labels for entry in entries]
            chosen = {name: cells[0][name] for name in _differing(cells) if name in cells[0]}
            way = (
                f"Say which, such as by {', '.join(f'{name}={value!r}' for name, value in chosen.items())}."
                if chosen
                else "No label tells them apart: open the report or the experiment that the wanted one belongs to."
            )
            words = _shown(self._words(labels))
            raise UserError(f"{len(entries)} artifacts of stage {stage} fit{words}: {_few(_names(cells))}. {way}")
        (entry, artifact), *_ = self._all(stage, labels)
        return artifact, entry.labels

    def _unfinished(self, stage: str, entry: Entry, missing: int, of: int) -> str:
        several = f"; {missing} of {of} are not finished" if missing > 1 else ""
        return (
            f"The artifact of stage {stage}{_shown(entry.labels)} is {entry.state} in {self.store}{several}. "
            f"{entry.command} makes it."
        )

    def _words(self, labels: Mapping[str, object]) -> dict[str, str]:
        """Labels as a study has them: words; unknown ones are refused."""
        words = {name: str(value) for name, value in labels.items()}
        for name, word in words.items():
            known = list(dict.fromkeys(cell[name] for cell in self._entries.cells if name in cell))
            if not known:
                axes = list(dict.fromkeys(axis for cell in self._entries.cells for axis in cell))
                there = f"its cells are told apart by {', '.join(axes)}" if axes else "it has one cell, without labels"
                raise UserError(f"{self.name} has no label {name!r}: {there}.")
            if word not in known:
                raise UserError(f"{self.name} has no {name} {word!r}: {name} is one of {_few(known)}.")
        return words

    def __repr__(self) -> str:
        """Say in two lines what it is and where."""
        axes: dict[str, list[str]] = {}
        for cell in self._entries.cells:
            for name, value in cell.items():
                axes.setdefault(name, [])
                axes[name] += [] if value in axes[name] else [value]
        told = "; ".join(f"{name}: {_few(values)}" for name, values in axes.items()) or "one cell"
        return f"Study {self.name}: {told}\n  store: {self.store}"


def _differing(cells: Sequence[Mapping[str, str]]) -> list[str]:
    """Labels in which cells differ, in their order."""
    names = list(dict.fromkeys(name for cell in cells for name in cell))
    return [name for name in names if len({cell.get(name) for cell in cells}) > 1]


def _names(cells: Sequence[Mapping[str, str]]) -> list[str]:
    """Name each cell by what tells it from the others, such as ``seed 0``."""
    told = _differing(cells) or list(dict.fromkeys(name for cell in cells for name in cell))
    names = [" | ".join(f"{name} {cell[name]}" for name in told if name in cell) for cell in cells]
    return [name or f"run {place}" for place, name in enumerate(names)]


def _shown(labels: Mapping[str, str]) -> str:
    words = ", ".join(f"{name} {value}" for name, value in labels.items())
    return f" ({words})" if words else ""


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + ", ..." * (len(words) > _SHOWN)
