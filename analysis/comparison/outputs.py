"""Outputs of several runs on the same examples, in whatever form they come, as one array of logits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

from analysis.classifier_metrics import logits_of_gaps
from analysis.comparison.arrays import as_labels, named
from kernels.arrays import as_array

ROUNDING = 5e-3
"""How far the rows of probabilities may be from a sum of one: bfloat16 has two to three digits."""
FLOOR = float(np.finfo(np.float32).eps)
"""What a probability of exactly 0 is taken as: its logarithm has no rank and no finite loss."""


@dataclass(frozen=True)
class RunOutputs:
    """Logits of m runs on the same n examples, and the true classes.

    Attributes
    ----------
    names : tuple of str
        Of the runs.
    logits : ndarray, shape (m, n, C)
        Unnormalized log-probabilities in float64; C is at least 2.
    labels : ndarray of int, shape (n,)
        True classes.
    notes : tuple of str
        What was left out or replaced.
    """

    names: tuple[str, ...]
    logits: Float[np.ndarray, "m n C"]
    labels: Int[np.ndarray, " n"]
    notes: tuple[str, ...] = ()


def read_outputs(
    outputs: Any,
    labels: Any,
    *,
    is_probability: bool | None = None,
    names: Sequence[Any] | None = None,
    on_bad_run: Literal["error", "drop"] = "error",
) -> RunOutputs:
    """Check the outputs of several runs and bring them to one form; see `analysis.compare_runs` for the parameters.

    Raises
    ------
    ValueError
        In one sentence, with what to write instead, for everything in the table of docs/compare.md.
    """
    if on_bad_run not in ("error", "drop"):
        raise ValueError(f"on_bad_run is 'error' or 'drop', not {on_bad_run!r}.")
    examples = None if labels is None else _length(labels)
    if not isinstance(outputs, (dict, list, tuple)) and hasattr(outputs, "ndim"):
        _check_axes(outputs, examples)
    known, members = named(outputs, names, "outputs")
    if not members:
        raise ValueError("outputs is empty: give at least two runs.")
    runs = [one_run(name, member, examples) for name, member in zip(known, members, strict=True)]
    if len(runs) == 1:
        raise ValueError(
            f"outputs holds one run ({known[0]!r}): two seeds are the least that can differ. An array of several runs "
            "has the shape (runs, examples, classes)."
        )
    _check_alike(known, runs)
    if examples is not None and examples != len(runs[0]):
        raise ValueError(
            f"There are {examples:,} labels for {len(runs[0]):,} examples: give one for each, in one order."
        )
    notes: list[str] = []
    kept = _usable(known, runs, on_bad_run, notes)
    known, runs = [known[i] for i in kept], [runs[i] for i in kept]
    logits = as_logits(np.stack(runs), is_probability, notes)
    return RunOutputs(tuple(known), logits, as_labels(labels, logits.shape[2], logits.shape[1]), tuple(notes))


def _length(labels: Any) -> int:
    try:
        return len(labels)
    except TypeError:
        raise ValueError(f"labels is a {type(labels).__name__}: give one class for each example.") from None


def _check_axes(outputs: Any, examples: int | None) -> None:
    """Refuse an array whose axes cannot be, or need not be, runs, examples and classes."""
    shape = tuple(outputs.shape)
    if len(shape) == 2:
        raise ValueError(
            f"outputs has the shape {shape}, which may be one run's (examples, classes) or (runs, examples) of single "
            "outputs: write outputs[None] for the first, outputs[..., None] for the second."
        )
    if len(shape) != 3:
        raise ValueError(f"outputs has the shape {shape}: (runs, examples, classes) is needed.")
    if examples is None or shape[1] == examples:
        return
    order = {0: "(examples, runs, classes)", 2: "(runs, classes, examples)"}
    for axis, said in order.items():
        if shape[axis] == examples:
            raise ValueError(
                f"outputs has the shape {shape} for {examples:,} labels, so that it is {said}: write "
                f"outputs.swapaxes({min(axis, 1)}, {max(axis, 1)}) for (runs, examples, classes)."
            )


def one_run(name: str, member: Any, examples: int | None, shown: str | None = None) -> Float[np.ndarray, "n k"]:
    """Check one run's outputs and bring them to (n, k)."""
    where = shown or f"outputs[{name!r}]"
    array = as_array(member, where)
    if array.ndim == 1 and (array.dtype.kind in "iub" or _counted(array)):
        raise ValueError(
            f"{where} is a row of whole numbers, which look like decided classes: calibration, loss and "
            "levels need the outputs behind them, logits or probabilities."
        )
    if array.ndim not in (1, 2):
        raise ValueError(f"{where} has the shape {array.shape}: (examples, classes) is needed.")
    if not array.size:
        raise ValueError(f"{where} is empty (shape {array.shape}).")
    if array.ndim == 2 and examples not in (None, len(array)) and array.shape[1] == examples:
        raise ValueError(
            f"{where} has the shape {array.shape} for {examples:,} labels, so that it is (classes, "
            "examples): write its transpose."
        )
    return (array[:, None] if array.ndim == 1 else array).astype(np.float64)


def _counted(values: np.ndarray) -> bool:
    """Whether floats are 0, 1, 2, ...; zeros and ones alone may be probabilities, which is asked elsewhere."""
    return bool(values.size and values.max() > 1 and (values >= 0).all() and (values == np.floor(values)).all())


def _check_alike(names: Sequence[str], runs: Sequence[np.ndarray]) -> None:
    first = runs[0].shape
    for name, run in zip(names, runs, strict=True):
        if run.shape[0] != first[0]:
            raise ValueError(
                f"outputs[{names[0]!r}] has {first[0]:,} examples and outputs[{name!r}] {run.shape[0]:,}: churn "
                "compares decisions on the same examples, in the same order."
            )
        if run.shape[1] != first[1]:
            raise ValueError(
                f"outputs[{names[0]!r}] has {first[1]} classes and outputs[{name!r}] {run.shape[1]}: the runs need "
                "the same ones, in the same order."
            )


def _usable(names: Sequence[str], runs: Sequence[np.ndarray], on_bad_run: str, notes: list[str]) -> list[int]:
    bad = [~np.isfinite(run).all(axis=1) for run in runs]
    wrong = [i for i, rows in enumerate(bad) if rows.any()]
    if wrong and on_bad_run == "error":
        rows = bad[wrong[0]]
        raise ValueError(
            f"outputs[{names[wrong[0]]!r}] is NaN or infinite in {int(rows.sum()):,} row(s), first in row "
            f"{int(rows.argmax())}"
            + (f", and {len(wrong) - 1} more runs have such rows" if len(wrong) > 1 else "")
            + ": "
            "on_bad_run='drop' leaves these runs out."
        )
    kept = [i for i in range(len(runs)) if i not in wrong]
    if wrong:
        left = ", ".join(repr(names[i]) for i in wrong)
        notes.append(f"Left out, since their outputs are not finite: {left}.")
        if len(kept) < 2:
            raise ValueError(f"Without the runs that are not finite ({left}) fewer than two are left.")
    return kept


def as_logits(
    values: Float[np.ndarray, "m n k"], is_probability: bool | None, notes: list[str]
) -> Float[np.ndarray, "m n C"]:
    """Bring logits or probabilities of one or more columns to logits of at least two; notes say what was replaced."""
    single = values.shape[2] == 1
    each = [_look_like_probabilities(run[None]) for run in values]
    alike = any(each)
    if is_probability is None and alike and not all(each):
        raise ValueError(
            f"Run {each.index(True)} looks like probabilities and run {each.index(False)} like logits: bring all runs "
            "to one form, or write is_probability=False if all are logits."
        )
    if is_probability is None and alike:
        how = "every output lies between 0 and 1" if single else "every row is non-negative and sums to 1"
        raise ValueError(
            f"{how.capitalize()}: these look like probabilities. Write is_probability=True, or is_probability=False if "
            "they are logits all the same."
        )
    if not is_probability:
        if alike:  # said to be logits: a constant per row changes nothing, and keeps them from being refused below
            values = values if single else values - values.max(axis=2, keepdims=True)
        return np.stack([logits_of_gaps(run[:, 0][None])[0] for run in values]) if single else values
    _check_probabilities(values)
    if single:
        values = np.concatenate([1 - values, values], axis=2)
    zero = values < FLOOR
    if zero.any():
        notes.append(
            f"{int(zero.any(axis=2).sum()):,} of {zero.shape[0] * zero.shape[1]:,} rows hold a probability below "
            f"{FLOOR:.1g}, taken as that: such rows tie in levels, and their loss is a lower bound. Logits "
            "have no such end."
        )
    return log_softmax(np.log(np.maximum(values, FLOOR)), axis=2)


def _look_like_probabilities(values: np.ndarray) -> bool:
    if values.min() < -ROUNDING or values.max() > 1 + ROUNDING:
        return False
    return values.shape[2] == 1 or bool(np.allclose(values.sum(axis=2), 1, atol=ROUNDING))


def _check_probabilities(values: np.ndarray) -> None:
    wrong = (values < -ROUNDING) | (values > 1 + ROUNDING)
    if wrong.any():
        run, row, column = np.argwhere(wrong)[0]
        raise ValueError(
            f"is_probability=True, but {int(wrong.sum()):,} values lie outside [0, 1], first "
            f"{values[run, row, column]:.4g} in run {run}, row {row}: these are logits; leave is_probability out."
        )
    sums = values.sum(axis=2)
    if values.shape[2] > 1 and (off := np.abs(sums - 1) > ROUNDING).any():
        run, row = np.argwhere(off)[0]
        raise ValueError(
            f"is_probability=True, but {int(off.sum()):,} rows do not sum to 1, first {sums[run, row]:.4g} in run "
            f"{run}, row {row}: divide each by its sum; of outputs of several independent labels give one label at a "
            "time, as single outputs."
        )


def warn_of_equal_runs(names: Sequence[str], logits: Float[np.ndarray, "m n C"]) -> list[str]:
    """Say which runs have equal outputs, as a warning and as a note: usually a seed that was not set."""
    from analysis.trimming.distributions import as_float_tensor
    from analysis.trimming.references import identical_runs

    pairs = identical_runs(as_float_tensor(logits.reshape(len(logits), -1), "outputs"))
    if not pairs:
        return []
    shown = ", ".join(f"{names[a]} = {names[b]}" for a, b in pairs[:5])
    note = f"Runs with exactly equal outputs ({len(pairs)} pairs: {shown}): was the seed set?"
    warnings.warn(note, UserWarning, stacklevel=3)
    return [note]
