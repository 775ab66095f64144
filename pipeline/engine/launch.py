"""Run one stage on several ranks: ``torch.distributed.run`` starts them, for one artifact at a time.

The process that owns the artifact waits and is not a rank. So a single run, a job of a sweep and a task of SLURM
all start their ranks in the same way, no rank variable outlives a job, and no rank reruns the command line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from models.configs import MODEL_SCHEMAS
from pipeline.config.logging import MLFLOW_URI
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store, write_json
from pipeline.engine.build import LOADED, Build
from pipeline.engine.graph import Graph
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.stages import load_function
from pipeline.errors import UserError, storage_error
from pipeline.machine.children import ends_with_parent, interrupts_wait
from pipeline.machine.code_digest import loaded_files
from pipeline.machine.folders import folders_of
from pipeline.machine.side_files import read_record
from pipeline.machine.threads import VARIABLES
from pipeline.shown_text import masked_overrides, shown

_INHERITED = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_",
    "TORCHELASTIC",
)
_JOB, _RESULT, _FAILURE = "rank-job.json", "rank-result.json", "rank-{}-failed.json"
_PATIENCE = datetime.timedelta(days=2)


def wants_ranks(build: Build) -> bool:
    """Whether the stage runs on several ranks."""
    return build.config.numerics.world_size > 1 and build.node.stage.on_ranks


def run_on_ranks(build: Build) -> dict[str, Any]:
    """Run the stage's function on every rank and return the main process's metrics.

    Raises
    ------
    UserError
        The error of the first failing rank, if the user can act on it.
    RuntimeError
        Any other failure, with the traceback of the first failing rank.
    """
    size, logs = build.config.numerics.world_size, build.logs
    job = {
        "config": _without_uri(build.config),
        "stage": build.node.stage.name,
        "key": build.node.key,
        "overrides": masked_overrides(build.node.overrides),
        "store": str(build.store.root),
        "folder": str(build.folder),
        "labels": dict(build.labels),
        "later": [[stage, _without_uri(config)] for stage, config in build.later],
        "rebuild": [sorted(build.rebuild.words), build.rebuild.request],
        "inputs": {role: str(artifact.folder) for role, artifact in build.inputs.items()},
    }
    write_json(logs / _JOB, job)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    command += ["-m", "pipeline.engine.launch", str(logs / _JOB)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_INHERITED)}
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    environment["PYTHONSAFEPATH"] = "1"  # a models.py in the folder of the command hides no module of ours
    environment.update(dict.fromkeys(VARIABLES, str(build.node.threads)))
    if build.config.logging.uri is not None:  # it may hold a password, which belongs in no file
        environment[MLFLOW_URI] = build.config.logging.uri
    build.say(f"{size} ranks")
    # A session of its own: a signal that SLURM sends to all processes of a task must reach only this process, which
    # then ends the ranks in an orderly way. No rank may write after its job is killed.
    with interrupts_wait():
        ranks = subprocess.Popen(
            command, env=environment, start_new_session=True, preexec_fn=ends_with_parent(signal.SIGTERM)
        )
    try:
        code = ranks.wait()
    except BaseException:
        ranks.terminate()
        ranks.wait()
        raise
    if code != 0:
        raise _first_failure(logs, code)
    metrics = read_record(logs / _RESULT)
    if metrics is None:
        raise RuntimeError("The ranks ended well but left no readable result; run the same command again.")
    return metrics


def _without_uri(config: RunConfig) -> dict[str, Any]:
    """Plain values of a configuration, without the address of a tracker, which may hold a password."""
    return {**dataclasses.asdict(config), "logging": {**dataclasses.asdict(config.logging), "uri": None}}


def _first_failure(logs: Path, code: int) -> Exception:
    records = sorted(logs.glob(_FAILURE.format("*")), key=lambda path: path.stat().st_mtime)
    if not records:
        return RuntimeError(f"A rank ended with code {code} and left no traceback; its output is above.")
    record = read_record(records[0])
    if record is None:  # cut short by the full disk that ended the rank
        return RuntimeError(f"A rank ended with code {code}; its record {records[0]} cannot be read.")
    if record.get("user_error"):
        return UserError(record.get("message"))
    return RuntimeError(f"{record.get('rank')} failed:\n{record.get('traceback')}")


def config_from(values: dict[str, Any]) -> RunConfig:
    """Rebuild a configuration from ``dataclasses.asdict`` of one, checked against the schema."""
    from omegaconf import OmegaConf

    schema = OmegaConf.structured(RunConfig(model=MODEL_SCHEMAS[values["model"]["name"]]()))
    return OmegaConf.to_object(OmegaConf.merge(schema, values))  # type: ignore[return-value]


def rank_build(job: dict[str, Any]) -> Build:
    """Rebuild the build of a job file; the owner lock stays with the process that wrote it.

    Raises
    ------
    RuntimeError
        If the configuration gives another address here than there.
    """
    config = config_from(job["config"])
    graph, store = Graph(job["overrides"]), Store(Path(job["store"]))
    node = graph.resolve(job["stage"], config, job["overrides"])
    if node.key != job["key"]:
        raise RuntimeError(f"{job['stage']} has address {node.key} on this rank but {job['key']} in the job")
    inputs = {role: Artifact(Path(folder)) for role, folder in job["inputs"].items()}
    (words, request), labels = job["rebuild"], job.get("labels", {})
    later = [(stage, config_from(values)) for stage, values in job.get("later", [])]
    return Build(
        node,
        graph,
        store,
        Path(job["folder"]),
        inputs,
        rebuild=Rebuild(frozenset(words), request),
        labels=labels,
        later=later,
    )


def main(path: Path) -> None:
    """Run as one rank: join the process group, run the stage, leave the group together."""
    import torch

    from pipeline.machine.ranks import is_main_process, shutdown
    from pipeline.machine.threads import bound_threads
    from pipeline.tracking.opening import stage_tracker

    ends_with_parent(signal.SIGKILL)()
    job = json.loads(path.read_text(encoding="utf-8"))
    rank = int(os.environ["RANK"])
    folders = {"paths.store": Path(job["store"])}
    try:
        build = rank_build(job)
        folders = folders_of(build.config) | folders
        on_gpu = build.config.numerics.device == "cuda"
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
        function = load_function(build.node.stage.function)
        with bound_threads(build.node.threads):
            if is_main_process():
                with stage_tracker(build) as tracker:
                    metrics = function(build)
                    tracker.log(metrics)
                write_json(path.with_name(_RESULT), metrics)
                write_json(path.with_name(LOADED), loaded_files())
            else:
                function(build)
        shutdown()
    except Exception as error:
        plain = error if isinstance(error, UserError) else storage_error(error, Path(job["folder"]), folders)
        record = {
            "rank": f"rank {rank}",
            "message": str(plain or error),
            "user_error": plain is not None,
            "traceback": shown(traceback.format_exc()),
        }
        with contextlib.suppress(OSError):  # such as a full disk: its output is then all there is
            write_json(path.with_name(_FAILURE.format(rank)), record)
        # Exit at once: the other ranks wait in a collective operation that this one will never join.
        sys.stdout.flush()
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
