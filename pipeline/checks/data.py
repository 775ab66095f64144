"""Where rows come from: impossible combinations, and settings that the chosen source would not read."""

from __future__ import annotations

from collections.abc import Iterator

from models.fields import entry_problems
from pipeline.config.data import POISON_OPTIONS, SYNTHETIC_OPTIONS, DataConfig, TextConfig
from pipeline.config.run import RunConfig
from pipeline.engine.stages import STAGES

OF_OUTPUTS = ("train", "outputs", "statistics", "report")
"""Stages that outputs from files are enough for."""


def source_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: files for a source that reads none, checksums of no file, tokenizers not asked for.

    Examples
    --------
    >>> from pipeline.config.data import DataConfig, PathConfig
    >>> data = DataConfig(name="mine", source="path", path=PathConfig(train="a.parquet", sha256={"trian": "00"}))
    >>> list(source_problems(RunConfig(data=data)))
    ["data.path.sha256 holds 'trian', which is no split with a file; it takes train."]
    """
    data = config.data
    files = {split: getattr(data.path, split) for split in ("train", "test", "val")} | data.path.extra
    given = [split for split, value in files.items() if value is not None]
    names = [_setting_of(split, data) for split in given]
    if data.source != "path" and given:
        yield (
            f"{' and '.join(names)} {'names a file' if len(given) == 1 else 'name files'}, which data.source="
            f"{data.source} does not read; set data.source=path."
        )
    yield from logits_problems(config)
    for split in data.path.sha256:
        if split not in given:
            takes = ", ".join(given) or "nothing, since no file is named"
            yield f"data.path.sha256 holds {split!r}, which is no split with a file; it takes {takes}."
    for name in ("reference", "sample"):
        short, full = getattr(data, name), data.path.extra.get(name)
        if short is not None and full != short:
            yield f"data.{name}={short} is short for data.path.extra.{name}, which is {full}; keep one of them."
    if data.poison.kind == "none" and data.poison.options:
        yield f"data.poison.options={data.poison.options} belongs to a data.poison.kind, and nothing is planted here."
    elif data.poison.kind in POISON_OPTIONS:
        entries = POISON_OPTIONS[data.poison.kind]
        yield from entry_problems("data.poison.options", data.poison.kind, data.poison.options, entries)
    if data.source != "synthetic" and data.synthetic.options:
        yield f"data.synthetic.options={data.synthetic.options} is not read by data.source={data.source}."
    elif data.synthetic.function in SYNTHETIC_OPTIONS:
        entries = SYNTHETIC_OPTIONS[data.synthetic.function]
        yield from entry_problems("data.synthetic.options", data.synthetic.function, data.synthetic.options, entries)
    if data.allow_cross_data:
        yield "data.allow_cross_data has no effect any more; leave it at false."
    yield from _column_problems(data)
    yield from _tokenizer_problems(data.text)


def logits_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: outputs from files for stages that need rows or networks, or seeds that are not named.

    Examples
    --------
    >>> from pipeline.config.data import DataConfig, PathConfig
    >>> data = DataConfig(name="logits", source="logits", path=PathConfig(logits="runs/{seed}.npy"))
    >>> list(logits_problems(RunConfig(data=data, stage="kernel", cells={"seed": "0:3"})))
    ['data=logits holds outputs alone, and stage=kernel needs rows and networks; set stage=statistics.']
    """
    data, path = config.data, config.data.path
    if data.source != "logits":
        named = [name for name in ("logits", "labels") if getattr(path, name) is not None]
        if named:
            yield f"data.path.{named[0]} is read by data=logits, and this is data={data.name}; set data=logits."
        return
    if path.logits is None:
        yield "data=logits needs data.path.logits, the files of outputs, such as 'runs/{seed}.npy'."
    for stage in dict.fromkeys((config.stage, *config.wants)):
        if stage in STAGES and stage not in OF_OUTPUTS:
            where = f"stage={stage}" if stage == config.stage else f"wants of {stage}"
            yield f"data=logits holds outputs alone, and {where} needs rows and networks; set stage=statistics."
    if config.stage in ("statistics", "report") and "seed" not in config.cells and path.logits is not None:
        yield f"data.path.logits={path.logits} holds several runs; say which by cells.seed, such as cells.seed=0:5."
    if config.statistics.history or config.weights.source != "train":
        yield "data=logits has no networks: leave statistics.history and weights alone."


def _setting_of(split: str, data: DataConfig) -> str:
    """Name the setting that gave a split its file."""
    if split in ("reference", "sample") and getattr(data, split) is not None:
        return f"data.{split}"
    return f"data.path.{split}" if split in ("train", "test", "val") else f"data.path.extra.{split}"


def _column_problems(data: DataConfig) -> Iterator[str]:
    """Say what ``data.columns`` cannot mean."""
    columns = data.columns
    if columns and data.source not in ("path", "hub"):
        yield f"data.columns={columns} is not read by data.source={data.source}, whose columns have our names."
    if "x" in columns and data.kind != "vector":
        yield f"data.columns.x makes vectors of columns, but data.kind={data.kind}; data=table takes them."
    if {"y", "label"} <= columns.keys():
        yield "data.columns names both label (classes) and y (targets that are no classes); keep one of them."
    if "y" in columns and data.source == "path" and data.path.test is None:
        yield "data.columns.y names targets that are no classes, and such rows are not divided; name data.path.test."
    named: list[str] = []
    for ours, theirs in columns.items():
        several = ours in ("x", "y")
        words = theirs if several and isinstance(theirs, list) else [theirs]
        if not words or not all(isinstance(word, str) and word for word in words):
            what = "the name of a column, or a list of names" if several else "the name of one column"
            yield f"data.columns.{ours}={theirs} is not {what}."
            return
        named += words
    if twice := [name for index, name in enumerate(named) if name in named[:index]]:
        yield f"data.columns names the column {twice[0]} twice; each column is one thing."


def _tokenizer_problems(text: TextConfig) -> Iterator[str]:
    for name, wanted in (("tokenizer_path", "path"), ("tokenizer_id", "hub"), ("tokenizer_revision", "hub")):
        value = getattr(text, name)
        if value is not None and text.tokenizer != wanted:
            yield (
                f"data.text.{name}={value} is not read by data.text.tokenizer={text.tokenizer}; set "
                f"data.text.tokenizer={wanted}, or data.text.{name}=null."
            )
