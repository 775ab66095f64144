"""Find the study that a name or a path means."""

from __future__ import annotations

import difflib
from pathlib import Path

from pipeline.config.run import PathsConfig, RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.cells import CONF, hydra_home, overrides_between
from pipeline.engine.composition.command_words import split_flags
from pipeline.engine.composition.private_hydra import private_hydra
from pipeline.engine.graph import Graph
from pipeline.engine.inventory.layout import stage_folder
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from pipeline.machine.folders import user_path
from pipeline.study.entries import PlannedEntries, StoredEntries
from pipeline.study.study import Study

_TAKES = "open_study takes the name of a file in conf/experiment, a report, the folder of a store, or overrides."


def open_study(what: str | Path, *overrides: str, store: str | Path | None = None) -> Study:
    """Open what commands have made of a study, to read it: from a notebook, a script or a thread.

    Nothing is computed, written, or sent, and a Hydra that the caller has initialized stays as it is.

    Parameters
    ----------
    what : str or Path
        The name of an experiment; or a report (its folder or page), to see what it rests on; or the folder of a store,
        to see all that it holds; or an override such as ``model=mlp``, for a run without an experiment.
    *overrides : str
        Settings that were typed after the experiment, such as ``debug=tiny``.
    store : str or Path, optional
        Folder of the artifacts; as ``paths.store`` says without it.

    Returns
    -------
    Study
        ``results``, ``artifact``, ``artifacts``, ``kernel``, ``logits``, ``labels``, ``ids`` and ``cells``.

    Raises
    ------
    UserError
        If there is no such experiment, report or store.

    Examples
    --------
    >>> from pipeline import open_study
    >>> study = open_study("model=mlp", "cells.seed='0:2'", store="a folder without artifacts")
    >>> study.cells
    [{'seed': '0'}, {'seed': '1'}]
    >>> study.artifact("train", seed=1)
    Traceback (most recent call last):
        ...
    pipeline.errors.UserError: The artifact of stage train (seed 1) is missing in ...
    """
    place = user_path(str(what))
    if isinstance(what, str) and "=" in what and not place.exists():
        return _planned(what, (what, *overrides), store)
    if isinstance(what, str) and (CONF / "experiment" / f"{what}.yaml").is_file():
        return _planned(what, (f"experiment={what}", *overrides), store)
    if place.name == "report.html" and place.is_file():
        place = place.parent
    if not place.is_dir():
        raise UserError(_nothing_called(str(what)))
    if overrides or store is not None:
        raise UserError(f"{what} is a folder, which has its settings; leave {', '.join(overrides) or 'store='} out.")
    if (place / "manifest.json").is_file():
        return _of_report(place)
    return _whole_store(place)


def _planned(name: str, words: tuple[str, ...], store: str | Path | None) -> Study:
    """Study of an experiment, or of one run, by its settings."""
    if store is not None:
        words = (*words, *overrides_between(RunConfig(), RunConfig(paths=PathsConfig(str(store)))))
    with private_hydra(), hydra_home(split_flags(words)[0]):
        graph = Graph(words)
        config = graph.compose()
        cells = graph.cells(config)
    place = Store(user_path(config.paths.store).absolute())
    return Study(name, place.root, PlannedEntries(place, graph, config, cells))


def _nothing_called(name: str) -> str:
    known = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
    near = difflib.get_close_matches(name, known, 1)
    return f"There is no experiment and no folder {name!r}" + (f"; is it {near[0]!r}?" if near else ".") + f" {_TAKES}"


def _of_report(folder: Path) -> Study:
    """Study of what one report, or any other artifact, rests on, as their provenance says."""
    store = Store(stage_folder(folder.absolute()).parent)
    found: dict[Path, Artifact] = {}
    waiting = [folder.absolute()]
    while waiting:
        artifact = Artifact(waiting.pop())
        if artifact.folder in found or not artifact.folder.is_dir():
            continue
        found[artifact.folder] = artifact
        inputs = artifact.provenance.get("inputs")
        waiting += [store.named(str(place)) for place in inputs] if isinstance(inputs, dict) else []
    return Study(folder.name, store.root, _stored(list(found.values())))


def _whole_store(folder: Path) -> Study:
    """Study of all that a store holds."""
    store = Store(folder)
    artifacts = [Artifact(one) for stage in STAGES for one in store.finished(stage)]
    if not artifacts:
        raise UserError(f"{folder} is no store: it holds no finished artifact. {_TAKES}")
    return Study(folder.name, folder, _stored(artifacts))


def _stored(artifacts: list[Artifact]) -> StoredEntries:
    order = list(STAGES)
    artifacts.sort(key=lambda one: (order.index(one.stage) if one.stage in order else len(order), one.folder.name))
    labels = [one.provenance.get("labels") for one in artifacts]
    return StoredEntries(
        [
            (artifact, {str(axis): str(label) for axis, label in own.items()} if isinstance(own, dict) else {})
            for artifact, own in zip(artifacts, labels, strict=True)
        ]
    )
