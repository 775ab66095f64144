"""How many outputs a network needs for the rows that it reads."""

from __future__ import annotations

from collections.abc import Sequence

from models.configs import ModelConfig
from pipeline.data.errors import DataError


def refuse_outputs(model: ModelConfig, needed: int, names: Sequence[str] = ()) -> None:
    """Refuse a number of outputs that is set and is not that of the rows; unset, it follows from them.

    Parameters
    ----------
    model : ModelConfig
        ``outputs`` counts where a network has it.
    needed : int
        Number of classes, or of regression targets.
    names : sequence of str
        Names of the classes, for the message.

    Raises
    ------
    DataError
        With both numbers. One output serves two classes, as their log odds.

    Examples
    --------
    >>> from models.configs import MLPConfig
    >>> refuse_outputs(MLPConfig(outputs=1), 2)
    >>> refuse_outputs(MLPConfig(outputs=10), 3, ["cat", "dog", "emu"])
    Traceback (most recent call last):
        ...
    pipeline.data.errors.DataError: model.outputs=10, but the rows need 3: cat, dog, emu. ...
    """
    outputs = getattr(model, "outputs", None)
    if outputs is None or outputs == needed or (outputs, needed) == (1, 2):
        return
    listed = f": {', '.join(names[:12])}{', ...' * (len(names) > 12)}" * bool(names)
    raise DataError(
        f"model.outputs={outputs}, but the rows need {needed}{listed}. model.outputs=null takes as many as there are "
        "classes (or targets)."
    )
