"""Cells of an experiment: named axes of Hydra overrides, recomposed into one configuration per cell."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.config.run import RunConfig, register_schemas
from pipeline.engine.composition.command_words import CONFIG_NAME, own_places, quoted_names, split_flags
from pipeline.engine.composition.former_spellings import current_spelling
from pipeline.engine.composition.hydra_errors import plain_words
from pipeline.engine.composition.setting_names import run_config
from pipeline.engine.scale import CONF as CONF
from pipeline.engine.scale import expanded
from pipeline.errors import UserError

_PLAIN = re.compile(r"(?i)(?!(null|true|false|nan|inf)$)[a-z_][\w./-]*")


@dataclass(frozen=True)
class Cell:
    """One point of the grid: readable labels, the overrides that make it, and its configuration."""

    labels: dict[str, str]
    overrides: tuple[str, ...]
    config: RunConfig


MOST_SEEDS = 100_000
"""Seeds of one study. More are a slip of the finger: planning alone would take hours and gigabytes."""
_OF_THE_STUDY = frozenset(
    """stage wants cells cells_limit upstream allow_missing rebuild gc_delete gc_finished watch serve out between
    select experiment_name published report statistics tiny paths.store""".split()
)
"""Settings that a study has once, so that a cell with its own value would not be heeded."""

Compose = Callable[[tuple[str, ...]], RunConfig]


def seed_list(value: Any) -> list[int]:
    """Read ``cells.seed``: a string ``start:stop`` or a list of seeds.

    Raises
    ------
    UserError
        If it is neither, empty, or holds a negative seed or one twice.
    """
    ways = "write 'start:stop' in quotes such as '0:8', or a list such as [0,1,2]"
    if isinstance(value, int) and not isinstance(value, bool):
        # YAML 1.1 reads an unquoted 10:20 as a number to the base 60
        pair = f"{value // 60}:{value % 60:02}"
        read = f"; in a YAML file {pair} without quotes is {value}, so write '{pair}'" if value >= 60 else ""
        raise UserError(
            f"cells.seed is the number {value}: write cells.seed=0:{value} for that many seeds, or "
            f"cells.seed=[{value}] for this one{read}."
        )
    try:
        if isinstance(value, str):
            start, stop = (int(part) for part in value.split(":"))
            seeds = list(range(start, min(stop, start + MOST_SEEDS + 1)))
        else:
            seeds = [_whole(item) for item in value]
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"cells.seed is {value!r}; {ways}. Hydra's range(...) works only with -m and seed=range(...)."
        ) from error
    if not seeds or min(seeds) < 0:
        raise UserError(f"cells.seed is {value!r}; it needs at least one seed and none below 0.")
    if len(seeds) > MOST_SEEDS:
        raise UserError(f"cells.seed is {value!r}; name at most {MOST_SEEDS} seeds.")
    if len(set(seeds)) < len(seeds):
        raise UserError(f"cells.seed is {value!r}; name each seed once.")
    return seeds


def _whole(item: Any) -> int:
    """Read one seed; True and 1.5 are none."""
    if isinstance(item, bool) or int(item) != float(item):
        raise ValueError(f"{item!r} is no seed")
    return int(item)


def axis_entries(name: str, value: Any) -> list[tuple[str, tuple[str, ...]]]:
    """Expand one axis into (label, overrides) pairs; a mapping names its entries itself."""
    if name == "seed":
        return [(str(seed), (f"seed={seed}",)) for seed in seed_list(value)]
    if isinstance(value, dict) and value:
        named = [axis_entries(name, [overrides])[0][1] for overrides in value.values()]
        _refuse_twice(name, named)
        return list(zip(map(str, value), named, strict=True))
    if not isinstance(value, list) or not value:
        raise UserError(f"cells.{name} must be a list of override lists such as [[model=mlp], [model=resnet18]].")
    entries = []
    for overrides in value:
        if not isinstance(overrides, list) or not overrides:
            raise UserError(f"cells.{name} holds {overrides!r}; each entry is a list of overrides such as [model=mlp].")
        label = ", ".join(str(item).split("=", 1)[-1] if i == 0 else str(item) for i, item in enumerate(overrides))
        entries.append((label, tuple(str(item) for item in overrides)))
    _refuse_twice(name, [words for _, words in entries])
    return entries


def _refuse_twice(name: str, entries: Sequence[tuple[str, ...]]) -> None:
    twice = [list(words) for index, words in enumerate(entries) if words in entries[:index]]
    if twice:
        raise UserError(f"cells.{name} holds {twice[0]} twice; name each entry once.")


def _refuse_what_no_cell_has(config: RunConfig) -> None:
    """Refuse entries of an axis that change nothing, or what another axis sets."""
    for axis, value in config.cells.items():
        for word in itertools.chain.from_iterable(words for _, words in axis_entries(axis, value)):
            name = word.lstrip("+~").partition("=")[0].partition("@")[0]
            if axis == "seed":
                break
            if {name, name.partition(".")[0]} & _OF_THE_STUDY:
                raise UserError(
                    f"cells.{axis} holds {word!r}, which the whole study has once: set it beside cells, not in one."
                )
            if name == "seed" and "seed" in config.cells:
                raise UserError(
                    f"cells.{axis} holds {word!r}, but cells.seed sets the seed of every cell; keep one of them."
                )


def expand(config: RunConfig, overrides: tuple[str, ...], compose: Compose) -> list[Cell]:
    """List the cells of an experiment in the order of its axes, seeds last.

    Parameters
    ----------
    config : RunConfig
        The experiment's own configuration.
    overrides : tuple of str
        The command's overrides, applied before those of a cell.
    compose : callable
        From overrides to a configuration.

    Returns
    -------
    list of Cell
        One cell with empty labels where the experiment declares no axes.
    """
    if not config.cells:
        return [Cell({}, overrides, config)]
    _refuse_what_no_cell_has(config)
    limit = config.cells_limit
    axes = {name: axis_entries(name, value)[:limit] for name, value in config.cells.items() if name != "seed"}
    seeds = axis_entries("seed", config.cells["seed"])[:limit] if "seed" in config.cells else None
    cells = []
    for combination in itertools.product(*axes.values()):
        labels = dict(zip(axes, (label for label, _ in combination), strict=True))
        added = tuple(itertools.chain.from_iterable(items for _, items in combination))
        base = compose((*overrides, *added)) if added else config
        if seeds is None:
            cells.append(Cell(labels, (*overrides, *added), base))
            continue
        for label, seed in seeds:
            words = (*overrides, *added, *seed)
            # Composing is a tenth of a second; a seed touches one place only, unless a file interpolates it.
            cell = compose(words) if base.interpolates_seed else with_seed(base, int(label))
            cells.append(Cell({**labels, "seed": label}, words, cell))
    return cells


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """Give the run of another seed: every stream follows it, except those that are held fixed."""
    return dataclasses.replace(config, seed=seed)


def overrides_between(before: RunConfig, after: RunConfig) -> tuple[str, ...]:
    """List the overrides that turn one configuration into another, of which a stage needs an artifact.

    Examples
    --------
    >>> overrides_between(RunConfig(), RunConfig(seed=4, wants=["train"]))
    ('seed=4', 'wants=[train]')
    """
    return () if after is before else tuple(_differences("", before, after))


_OF_THE_MACHINE = ("hardware.", "upstream=", "stage=", "workers=", "paths.", "logging.")


def without_hardware(words: Sequence[str], config: RunConfig) -> list[str]:
    """Say what a run is without its hardware: ``hardware=slurm_gpu`` becomes ``numerics.device=cuda``.

    A file of ``conf/hardware`` may choose the arithmetic, which is part of addresses, and cells and printed commands
    must have it where the hardware is left out.

    Parameters
    ----------
    words : sequence of str
        Of the command.
    config : RunConfig
        What they compose.
    """
    if not any(word.lstrip("+").startswith("hardware=") for word in words):
        return list(words)
    rest = [word for word in words if not word.lstrip("+").startswith("hardware")]
    more = overrides_between(compose_run(tuple(rest)), config)
    return [*rest, *(word for word in more if not word.startswith(_OF_THE_MACHINE))]


def _differences(prefix: str, before: Any, after: Any) -> Iterator[str]:
    for field in dataclasses.fields(after):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if new is old:
            continue
        if dataclasses.is_dataclass(new):
            yield from _differences(f"{prefix}{field.name}.", old, new)
        elif new != old:
            yield f"{prefix}{field.name}={_spelled(new)}"


def _spelled(value: Any) -> str:
    """Write a value in the grammar of overrides."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_spelled, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_spelled(key)}:{_spelled(item)}' for key, item in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str) or _PLAIN.fullmatch(value):
        return str(value)
    # the grammar reads a backslash as such, but for those before a quote or at the end
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
    return f"'{escaped}'"


@contextmanager
def hydra_home(flags: dict[str, str]) -> Iterator[None]:
    """Use the running application's Hydra, which has heeded the flags, or start one on ``conf/`` (library use)."""
    from hydra import initialize_config_dir
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    from pipeline.engine.composition.kept_parts import keep_parts

    if GlobalHydra.instance().is_initialized():
        keep_parts()
        yield
        return
    register_schemas()
    with initialize_config_dir(os.path.abspath(flags.get("config-path", CONF)), version_base="1.3"):
        if "config-dir" in flags:
            loader: Any = GlobalHydra.instance().config_loader()
            place = f"file://{os.path.abspath(flags['config-dir'])}"
            loader.get_search_path().prepend("command-line", place, anchor=SearchPathQuery(provider="schema"))
            loader.repository.initialize_sources(loader.get_search_path())
        keep_parts()
        yield


def compose_run(words: tuple[str, ...]) -> RunConfig:
    """Compose one configuration.

    Parameters
    ----------
    words : tuple of str
        Overrides, and Hydra's flags of the command that say which files are composed (``--config-name=mine``).

    Raises
    ------
    UserError
        If Hydra refuses an override or a file, or a setting does not exist.
    """
    from hydra import compose
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    flags, overrides = split_flags(words)
    typed = [current_spelling(quoted_names(word)) for word in overrides]
    current = expanded(typed, tuple(own_places(words)))
    with hydra_home(flags):
        try:
            config = run_config(compose(flags.get("config-name", CONFIG_NAME), current))
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            raise UserError(plain_words(error)) from error
    if not config.tiny and "debug=tiny" in typed:
        raise UserError("debug=tiny shrinks a run, and tiny=false hides that: leave one of them out.")
    return config
