"""What a job of SLURM gets: Hydra's settings of its launcher, those of its stage, and the script of its array."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.config.numerics import HardwareConfig
from pipeline.engine.graph import Node
from pipeline.engine.schedule.slurm.arrays import Resources
from pipeline.engine.schedule.slurm.records import Submission
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError

MEMBER = "pipeline.engine.schedule.slurm"
"""Module that a job runs."""
_NOT_RESOURCES = {"_target_", "submitit_folder", "name"}
_SHARED = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "stderr_to_stdout")
"""Fields of ``hydra.launcher`` that submitit knows for every kind of cluster."""


def plain_fields(launcher: Any) -> dict[str, Any]:
    """Give the fields of ``hydra.launcher`` as plain values.

    Raises
    ------
    UserError
        If Hydra's launcher is not that of SLURM.
    """
    from omegaconf import OmegaConf

    target = str(launcher.get("_target_"))
    if "SlurmLauncher" not in target:
        raise UserError(
            "hardware.cluster=slurm takes the settings of its jobs from hydra/launcher=submitit_slurm, and here it is "
            f"{target}: leave hydra/launcher= out."
        )
    values = {name: launcher[name] for name in launcher if name not in _NOT_RESOURCES}
    return {
        name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for name, value in values.items()
    }


def resources_by(hardware: HardwareConfig, launcher: Mapping[str, Any]) -> Callable[[Node], Resources]:
    """Give what the job of an artifact gets: ``hydra.launcher``, with what ``hardware.resources`` says of its stage."""
    for stage, fields in hardware.resources.items():
        if stage not in STAGES:
            raise UserError(f"hardware.resources holds {stage!r}, which is no stage. Stages: {', '.join(STAGES)}.")
        if odd := [name for name in fields if name not in launcher]:
            raise UserError(
                f"hardware.resources.{stage} holds {odd[0]!r}, which hydra.launcher does not have. It has "
                f"{', '.join(launcher)}."
            )

    def of(node: Node) -> Resources:
        own = hardware.resources.get(node.stage.name, {})
        found = {name: value for name, value in {**launcher, **own}.items() if value is not None}
        if found.get("tasks_per_node", 1) != 1:
            raise UserError(
                f"hydra.launcher.tasks_per_node={found['tasks_per_node']} is impossible: one task per job starts its "
                "own ranks. Leave it at 1 and set numerics.world_size for several devices."
            )
        if found.get("gpus_per_node") and node.stage.on_ranks and "gpus_per_node" not in own:
            found["gpus_per_node"] = node.config.numerics.world_size
        if found.get("gpus_per_node") == 0:
            del found["gpus_per_node"]
        return found

    return of


def script_of(one: Submission, number: int, after: Sequence[str], module: str = MEMBER) -> str:
    """Write the script of an array, as submitit writes its own.

    Raises
    ------
    UserError
        If a field of the resources has a value that submitit does not take, or SLURM is not on this machine.
    """
    import submitit

    array = one.arrays[number]
    fields = {name: value for name, value in array.resources.items() if name != "max_num_timeout"}
    named = {name if name in _SHARED else f"slurm_{name}": value for name, value in fields.items()}
    if after:
        named["slurm_dependency"] = "afterany:" + ":".join(after)
    # -P: a models.py in the folder of the command hides no module of ours
    command = f"{shlex.quote(sys.executable)} -u -P -m {module} {shlex.quote(str(one.folder))} {number}"
    try:
        executor = submitit.AutoExecutor(cluster="slurm", folder=one.logs)
        executor.update_parameters(name=one.name(number), **named)
        slurm = executor._executor
        slurm.parameters["map_count"] = len(array.members)
        return slurm._make_submission_file_text(command, one.mark)
    except RuntimeError as error:
        raise UserError(
            "srun is not on this machine, and hardware=slurm_* needs SLURM's commands: run this where they are (a "
            "login node), or set hardware=local."
        ) from error
    except (AssertionError, NameError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"Jobs of stage {array.stage} cannot have these resources of hydra.launcher: {why}") from error
