"""What a gather says when it lacks more cells than it may: each cause once, with the cells that it stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.engine.graph import GatheredNode, Node
from pipeline.errors import FailedCells, MissingUpstream, UserError

FAILED = "failed_key"
"""Attribute of an error: the key of the artifact whose making raised it."""
Missing = Mapping[str, Sequence[tuple[GatheredNode, Exception]]]


def refuse_lack(node: Node, done: Mapping[str, Any], missing: Missing, allowed: int, require: bool) -> None:
    """Refuse to gather without more cells of a stage than are allowed.

    Parameters
    ----------
    node : Node
        The gather.
    done, missing : mapping
        What is there, and what is not and why, by stage.
    allowed : int
        Cells of a stage that it may lack.
    require : bool
        Whether this command makes no upstream artifacts.

    Raises
    ------
    MissingUpstream
        If it lacks more.
    """
    worst = max((len(group) for group in missing.values()), default=0)
    if worst <= allowed:
        return
    causes = [error for group in missing.values() for _, error in group]
    fault = next((error for error in causes if not isinstance(error, UserError)), causes[0])
    # One artifact that everything rests on, such as the rows: one sentence, as for settings that cannot be.
    itself = {getattr(error, FAILED, m.node.key) for group in missing.values() for m, error in group}
    kind = FailedCells if not require and (done or len(itself) > 1) else MissingUpstream
    raise kind(
        f"{node.stage.name} needs every cell, but up to {worst} cells of a stage are missing "
        f"(allow_missing={allowed}):\n{_by_error(missing)}\n"
        f"Make them (stage=status shows tracebacks), or gather without them: allow_missing={worst}."
    ) from fault


def named_cell(member: GatheredNode) -> str:
    """Name a member by the labels of its cells."""
    labels = ", ".join(f"{axis} {label}" for axis, label in member.labels.items())
    return labels or member.node.slug


def _by_error(missing: Missing) -> str:
    """List what is missing under each distinct error, so that each cause appears once."""
    causes: dict[str, list[str]] = {}
    for name, group in missing.items():
        for member, error in group:
            text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            causes.setdefault(text, []).append(f"{name} ({named_cell(member)})")
    lines = []
    for text, places in causes.items():
        shown = "; ".join(places[:6]) + (f"; and {len(places) - 6} more" if len(places) > 6 else "")
        lines.append(f"  {text}\n    in {shown}")
    return "\n".join(lines)
