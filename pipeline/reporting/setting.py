"""How the setting of a run compares with its experiment's published one: what differs, and by how much."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.verdicts import MIN_RUNS, Setting
from models.configs import ModelConfig
from pipeline.config.data import DataConfig
from pipeline.config.published import PublishedConfig
from pipeline.config.run import RunConfig
from pipeline.engine.cells import Cell
from pipeline.engine.composition.command_words import is_search_path
from pipeline.engine.graph import Graph

SECTIONS = (
    "data",
    "model",
    "training",
    "pretrain",
    "weights",
    "snapshots",
    "features",
    "kernel",
    "layer_kernels",
    "surrogate",
    "attribution",
    "retraining",
    "adversarial",
    "probes",
    "regression",
    "spectra",
    "toy",
    "statistics",
    "shift",
)
"""Sections of a configuration that are compared."""
PLACES = (
    "data.source",
    "data.hub",
    "data.packaged",
    "data.path",
    "data.columns",
    "data.reference",
    "data.sample",
    "data.class_names",
)
"""Where rows come from, not which they are: the data set's name says that."""
APART = ("kernel.memory", "statistics.claims", "statistics.released")
"""What changes how numbers are computed or which are shown, not the numbers."""
ALWAYS = ("lacks", "numerics.precision", "report.options")
"""What matters to every claim."""
STAND_IN = (
    "data.kind",
    "data.image",
    "data.normalize",
    "data.text",
    "data.split",
    "data.synthetic",
    "data.subset.classes",
)
"""What belongs to a stand-in data set and is named with it."""
AMOUNTS = {
    "training.epochs": "epochs",
    "data.subset.test_per_class": "test rows a class",
    "kernel.n_train": "training points of the kernel",
    "kernel.n_test": "test points of the kernel",
    "features.limit": "rows of features",
    "toy.samples": "samples",
    "toy.steps": "steps",
    "shift.per_side": "rows a side",
    "shift.redraws": "redraws",
    "regression.redraws": "redraws",
    "statistics.subsets": "subsets of runs",
    "kernel.dim": "dimensions of the sketch",
}
"""Settings that are amounts, with their noun."""
ROWS_PER_CLASS = {"mnist_5k": 400, "fashion_mnist": 6000, "cifar10": 5000, "cifar10_jpeg": 5000}
"""Training rows of a class of the balanced data sets (mnist_5k: after a fifth is cut for testing)."""


@dataclass(frozen=True)
class Difference:
    """One setting that is not the published one: its dotted name and the words for the page.

    Fewer seeds than published widen an interval and change nothing else, so that they do not keep a run off the
    published setting as long as there are enough of them for a verdict.
    """

    path: str
    text: str
    apart: bool = True


class Comparison:
    """A report's cells beside the published ones; `setting` answers for one claim.

    Parameters
    ----------
    graph : Graph
        Of the report.
    config : RunConfig
        Its configuration.
    missing : int
        Runs that the report goes without, see ``allow_missing``.
    """

    def __init__(self, graph: Graph, config: RunConfig, missing: int = 0) -> None:
        self.published = config.published
        self.tiny = config.tiny
        self.differences: list[Difference] = []
        if self.tiny or self.published.kind == "ours":
            return
        there = Graph(published_words(graph.overrides, config.published))
        base = there.compose()
        if self.published.experiment is not None:
            self.published = base.published
        cells = graph.cells(config)
        found = compared(cells, config, there.cells(base), base)
        self.differences = list({difference.text: difference for difference in found}.values())
        if missing:
            self.differences.append(Difference("seeds", f"{len(cells) - missing} of {len(cells)} runs", apart=False))
        if self.published.lacks:
            self.differences.append(Difference("lacks", self.published.lacks))

    def setting(self, fields: Sequence[str] = ()) -> Setting:
        """Give the setting for a claim to which `fields` matter; all do where none is named."""
        if self.tiny:
            return Setting("tiny")
        if self.published.kind == "ours":
            return Setting("ours", unknown=self.published.why)
        found = [one for one in self.differences if _matters(one.path, fields)]
        kind: Literal["other", "published"] = "other" if any(one.apart for one in found) else "published"
        return Setting(kind, tuple(one.text for one in found), self.published.unknown)


def published_words(command: Sequence[str], published: PublishedConfig) -> tuple[str, ...]:
    """Give the words that compose the published setting, with the command's own places of configuration files."""
    places = [word for word in command if word.startswith("--") or is_search_path(word)]
    if published.experiment is not None:
        return (*places, f"experiment={published.experiment}", "scale=published")
    chosen = [word for word in command if word.lstrip("+").startswith("experiment=")]
    return (*places, *chosen, *published.overrides)


def _matters(path: str, fields: Sequence[str]) -> bool:
    if not fields or path in ALWAYS:
        return True
    names = [*fields, *(("data.subset", "data.name", "data.synthetic") if "data.rows" in fields else ())]
    return any(path == name or path.startswith(f"{name}.") for name in names)


def compared(
    run: Sequence[Cell], config: RunConfig, published: Sequence[Cell], base: RunConfig
) -> Iterator[Difference]:
    """Yield what differs between two grids of cells; cells are paired by their labels, seeds apart."""
    here, there = _by_labels(run), _by_labels(published)
    paired = [(here[labels], cell) for labels, cell in there.items() if labels in here]
    for mine, theirs in paired:
        yield from section_differences(mine.config, theirs.config)
    for labels, mine in here.items():
        if labels not in there:
            nearest = there[max(there, key=lambda known: len(set(known) & set(labels)))]
            # an entry of one's own beside published ones is named, so that it is clear what to leave out
            own = [label for axis, label in labels if (axis, label) not in set(itertools.chain(*there))]
            where = f" ({', '.join(own)})" if paired and own else ""
            for one in section_differences(mine.config, nearest.config):
                yield Difference(one.path, f"{one.text}{where}", one.apart)
    yield from axes(config, base)
    if config.published.experiment is None and config.report.options != base.report.options:
        yield Difference("report.options", "report.options of one's own")
    seeds = [len(_seeds(cells)) for cells in (run, published)]
    if seeds[0] < seeds[1]:
        yield Difference("seeds", f"{seeds[0]} of {seeds[1]} seeds", apart=seeds[0] < MIN_RUNS)
    elif seeds[0] > seeds[1]:
        yield Difference("seeds", f"{seeds[0]} instead of {seeds[1]} seeds", apart=False)


def _by_labels(cells: Sequence[Cell]) -> dict[tuple[tuple[str, str], ...], Cell]:
    found: dict[tuple[tuple[str, str], ...], Cell] = {}
    for cell in cells:
        found.setdefault(tuple((axis, label) for axis, label in cell.labels.items() if axis != "seed"), cell)
    return found


def _seeds(cells: Sequence[Cell]) -> set[str]:
    toy = {str(seed) for cell in cells if "toy" in cell.config.wants for seed in cell.config.toy.seeds}
    return toy or {cell.labels.get("seed", "") for cell in cells}


def axes(config: RunConfig, base: RunConfig) -> Iterator[Difference]:
    """Yield the axes of which entries are missing; an entry is one setting of the grid."""
    for axis, entries in base.cells.items():
        if axis == "seed":
            continue
        mine = config.cells.get(axis, {})
        lost = [label for label in _labels(entries) if label not in _labels(mine)]
        if lost and axis in config.cells:
            total = len(_labels(entries))
            yield Difference(f"cells.{axis}", f"{total - len(lost)} of {total} entries of {axis}")


def _labels(entries: Any) -> list[str]:
    return [str(entry) for entry in entries]


def section_differences(run: RunConfig, published: RunConfig) -> Iterator[Difference]:
    """Yield what differs in the settings of one cell."""
    if run.data.name != published.data.name:
        yield Difference("data.name", f"stand-in data {run.data.name} for {published.data.name}")
    other_network = network(run.model) != network(published.model)
    if other_network:
        yield Difference("model.name", f"stand-in network {network(run.model)} for {network(published.model)}")
    mine, theirs = rows(run.data), rows(published.data)
    if mine != theirs:
        yield Difference("data.subset.per_class", _amount(mine, theirs, "rows"))
    other_data = run.data.name != published.data.name
    if run.data.name == published.data.name and (rows_here := _other_rows(run.data, published.data)):
        yield Difference("data.name", rows_here)
    for path, a, b in _walk("seeds", run.seeds, published.seeds):
        yield Difference(path, f"{path} held at {a}" if b is None else _words(path, a, b))
    for section in SECTIONS:
        # layers and tokens of a stand-in belong to it: they are named with it
        if other_network and section in ("model", "features"):
            continue
        for path, a, b in _walk(section, getattr(run, section), getattr(published, section)):
            if not (other_data and path.startswith(STAND_IN)):
                yield Difference(path, _words(path, a, b))
    if run.numerics.precision != published.numerics.precision:
        a, b = run.numerics.precision, published.numerics.precision
        yield Difference("numerics.precision", f"precision {a} instead of {b}")


def _walk(path: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    if path in (*PLACES, *APART, "data.name", "model.name", "data.subset.per_class", "toy.seeds"):
        return
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        for field in dataclasses.fields(a):
            yield from _walk(f"{path}.{field.name}", getattr(a, field.name), getattr(b, field.name))
    elif a != b:
        yield path, a, b


def _other_rows(mine: DataConfig, theirs: DataConfig) -> str:
    """Name rows that are not the data set's, whatever its name says; files of one's own are taken at their word."""
    if mine.source == "synthetic" != theirs.source:
        return f"made-up rows for {theirs.name}"
    if mine.source == "packaged" and (theirs.source != "packaged" or mine.packaged.name != theirs.packaged.name):
        return f"stand-in rows of the package {mine.packaged.name} for {theirs.name}"
    if mine.source == theirs.source == "hub" and mine.hub.id != theirs.hub.id:
        return f"stand-in rows of {mine.hub.id} for {theirs.hub.id}"
    return ""


def network(model: ModelConfig) -> str:
    """Name a network by what cannot be varied within it: its weights' repository, its variant, or its kind."""
    variant = getattr(model, "variant", None)
    return str(getattr(model, "id", None) or (f"{model.name} {variant}" if variant else model.name))


def rows(data: DataConfig) -> int | None:
    """Training rows of a view as its settings give them; None where they take all of a data set."""
    if data.kind == "vector" and data.synthetic.function is not None:
        return data.synthetic.n_train
    classes = len(data.subset.classes) if data.subset.classes is not None else len(data.class_names or ())
    whole = ROWS_PER_CLASS.get(data.name)
    each = whole if data.subset.per_class is None else data.subset.per_class
    if each is None or not classes:
        return each
    return classes * (each if whole is None else min(each, whole))


def _amount(mine: int | None, theirs: int | None, noun: str) -> str:
    if mine is None:
        return f"all {noun} instead of {theirs:,}"
    if theirs is None:
        return f"{mine:,} instead of all {noun}"
    return f"{mine:,} of {theirs:,} {noun}" if mine < theirs else f"{mine:,} instead of {theirs:,} {noun}"


def _words(path: str, mine: Any, theirs: Any) -> str:
    if path in AMOUNTS:
        return _amount(mine, theirs, AMOUNTS[path])
    name = path.removeprefix("training.").removeprefix("model.").removeprefix("data.")
    name = name if "." in name else name.replace("_", " ")  # a dotted name is a setting that can be typed
    return f"{name} {_plain(mine)} instead of {_plain(theirs)}"


def _plain(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value).replace("'", "")
