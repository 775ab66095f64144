"""Outputs of all runs of one group of cells, checked to be comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.variability.gaps import Quantity, compared_quantity, usable_runs
from pipeline.engine.build import Gathered
from pipeline.errors import UserError
from pipeline.stages.train.read import read_final_outputs, read_snapshot_arrays

FROM_FILES = ("checkpoint", "outputs")
"""Stages that read runs which were trained elsewhere."""


@dataclass(frozen=True)
class SeedRuns:
    """Runs that differ in nothing but their seed.

    Attributes
    ----------
    name : str
        Label of the group.
    seeds, keys : list of str
        Label and artifact key of each run.
    logits : ndarray, shape (m, n, k)
        Outputs on the judged split; k = 1 is a single logit.
    labels : ndarray of int, shape (n,)
        True classes.
    val_logits, val_labels : ndarray or None
        The same on the validation split, where there is one.
    dropped : list of str
        Seeds that were left out because their outputs are not finite.
    """

    name: str
    seeds: list[str]
    keys: list[str]
    logits: np.ndarray
    labels: np.ndarray
    val_logits: np.ndarray | None
    val_labels: np.ndarray | None
    dropped: list[str]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return max(2, self.logits.shape[-1])

    def gaps(self, quantity: str, split: str = "judged") -> np.ndarray:
        """Compute the compared quantity of every run, shape (m, n)."""
        logits, labels = (self.logits, self.labels) if split == "judged" else (self.val_logits, self.val_labels)
        assert logits is not None and labels is not None
        chosen: Quantity = quantity  # type: ignore[assignment]
        if quantity == "auto":
            chosen = "gap" if self.logits.shape[-1] <= 2 else "margin"
        try:
            return compared_quantity(logits, labels, quantity=chosen)
        except ValueError as error:
            raise UserError(f"statistics.quantity={quantity} for {self.name}: {error}") from error

    def outputs(self) -> np.ndarray:
        """Float64 outputs for metrics: gaps of two classes, logits of more."""
        return self.gaps("gap") if self.logits.shape[-1] <= 2 else self.logits.astype(np.float64)


def seed_runs(
    name: str, members: Sequence[Gathered], split: str, on_bad_run: str, *, step: int | None = None
) -> SeedRuns:
    """Collect the outputs of a group's runs, after training or in their snapshots at a step.

    Raises
    ------
    UserError
        If a run lacks the split, was evaluated on other examples or in another order, has no class labels,
        or holds NaN while ``on_bad_run`` is ``error``.
    """
    stacks: dict[str, list[np.ndarray]] = {}
    for member in members:
        artifact = member.artifact
        arrays = read_final_outputs(artifact) if step is None else read_snapshot_arrays(artifact, step, "logits")
        if f"{split}.logits" not in arrays:
            have = sorted({key.split(".")[0] for key in arrays})
            raise UserError(f"Run {member.artifact.key} of {name} has no split {split!r} (it has {', '.join(have)}).")
        if f"{split}.labels" not in arrays:
            raise UserError(f"The runs of {name} have real targets; seed statistics need class labels.")
        for key, value in arrays.items():
            stacks.setdefault(key, []).append(value)
    for key in (f"{split}.ids", f"{split}.labels"):
        first = stacks[key][0]
        for member, other in zip(members, stacks[key], strict=True):
            if other.shape != first.shape or (other != first).any():
                raise UserError(
                    f"Runs {members[0].artifact.key} and {member.artifact.key} of {name} were judged on different "
                    f"examples ({key} differ): mean logits and churn need the same ones in the same order."
                )
    logits = np.stack(stacks[f"{split}.logits"])
    _refuse_copies(name, members, logits)
    try:
        kept = usable_runs(
            logits.reshape(len(logits), -1).astype(np.float64), on_bad_run="drop" if on_bad_run == "drop" else "error"
        )
    except ValueError as error:
        keys = ", ".join(member.artifact.key for member in members[:3])
        raise UserError(f"Runs of {name} ({keys}, …): {error}. Here that is statistics.on_bad_run=drop.") from error
    seeds = [member.labels.get("seed", str(member.config.seed)) for member in members]
    with_val = "val.logits" in stacks and len(stacks["val.logits"]) == len(members) and split != "val"
    return SeedRuns(
        name=name,
        seeds=[seeds[i] for i in kept],
        keys=[members[i].artifact.key for i in kept],
        logits=logits[kept],
        labels=stacks[f"{split}.labels"][0].astype(np.int64),
        val_logits=np.stack(stacks["val.logits"])[kept] if with_val else None,
        val_labels=stacks["val.labels"][0].astype(np.int64) if with_val else None,
        dropped=[seed for i, seed in enumerate(seeds) if i not in set(kept.tolist())],
    )


def _refuse_copies(name: str, members: Sequence[Gathered], logits: np.ndarray) -> None:
    """Refuse the same file under two seeds: a spread over copies would be none of the runs'."""
    if any(member.artifact.stage not in FROM_FILES for member in members):
        return
    first: dict[bytes, int] = {}
    for index, values in enumerate(logits):
        earlier = first.setdefault(values.tobytes(), index)
        if earlier != index:
            seeds = [members[i].labels.get("seed", str(members[i].config.seed)) for i in (earlier, index)]
            raise UserError(
                f"Seeds {seeds[0]} and {seeds[1]} of {name} have the very same outputs: they come from one file or "
                "copies of it. Write {seed} where the names of the files hold the seed."
            )
