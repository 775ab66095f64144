"""How alike the layers of several runs are: unbiased CKA between seeds and between layers, from batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from analysis.comparison.arrays import check_layers, count_examples, finite_rows, rows_of, unique_names
from analysis.comparison.gram_tiles import FEWEST, BatchHSIC, batch_bytes, tile_bytes, tiled_hsic
from analysis.comparison.layer_measures import MEASURES, MeasureRow, PairedProducts
from analysis.comparison.layer_result import LayerComparison, LayerRow
from analysis.comparison.same_layer import compare_same_layers, matrices, mean_row, measured
from analysis.comparison.streamed_cka import CrossProducts, cka_of
from kernels.arguments import checked_arguments

Pairs = Literal["all", "batch"]
"""Which pairs of examples are compared."""


@checked_arguments
def compare_layers(
    features: Mapping[Any, Any],
    *,
    batch: int = 512,
    memory: int = 2**30,
    pairs: Pairs = "all",
    measures: Sequence[str] = ("cka",),
    neighbors: int = 10,
) -> LayerComparison:
    """Measure how alike the layers of several runs are on the same examples, by unbiased CKA.

    No layer's features are held whole. Where every layer is an array, either sums over examples are kept (one pass) or
    pairs of blocks of examples are compared (several passes), whichever fits into the memory and costs less arithmetic;
    a stream of batches is read once. ``result.route`` and ``result.memory`` say what was done and what it took.

    Parameters
    ----------
    features : mapping of run to features
        For each run a mapping of layer to array (n, ...): NumPy arrays, torch tensors, memory maps, or anything that
        has a length and can be sliced. Or for each run an iterable of batches, each a mapping of layer to array (b,
        ...), such as a generator; all runs are then read in step. Axes after the first are flattened. Rows are the same
        examples in the same order for all; that cannot be checked.
    batch : int
        Examples read at a time, at most.
    memory : int
        Bytes that the computation may take beside what is read.
    pairs : {"all", "batch"}
        All pairs of examples, or only those within a batch (minibatch CKA): one pass, cheaper, for streams of layers of
        any width, and noisier. A batch is one of the stream, or ``batch`` examples of arrays, of even sizes.
    measures : sequence of {"cka", "procrustes", "neighbors"}
        What each layer is compared by between seeds, beside CKA: the similarity after the best rotation, and the share
        of nearest neighbors in common (`analysis.comparison.layer_measures`), each with its value by chance, in
        ``result.measures``. Neighbors need features that can be read again, so no streams.
    neighbors : int
        Number of neighbors.

    Returns
    -------
    LayerComparison
        ``table`` and ``pairs`` are pandas tables, ``plot()`` one figure, ``report(path)`` an HTML page. Intervals are
        over runs (jackknife); from fewer than three there is none.

    Raises
    ------
    ValueError
        In one sentence that says what to write instead; docs/compare.md lists them.

    References
    ----------
    Kornblith et al., arXiv 1905.00414; Nguyen et al., arXiv 2010.15327, for the unbiased estimate and for batches.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import compare_layers
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 10))
    >>> def run(seed):
    ...     first = x @ np.random.default_rng(seed).normal(size=(10, 30))
    ...     return {"first": first, "second": np.maximum(first, 0) @ np.random.default_rng(seed).normal(size=(30, 5))}
    >>> result = compare_layers({seed: run(seed) for seed in range(4)})
    >>> result.between_seeds.round(2)  # same layer on the diagonal
    array([[0.75, 0.34],
           [0.34, 0.16]])
    """
    if batch < 2 or memory < 1:
        raise ValueError(f"batch={batch} must be at least 2 examples and memory={memory} a number of bytes.")
    if pairs not in get_args(Pairs):
        raise ValueError(f"pairs={pairs!r}: write 'all', or 'batch' for pairs within a batch only.")
    if not isinstance(features, Mapping) or not features:
        raise ValueError("features must be a mapping of runs to their features, such as {'seed 0': {'layer1': array}}.")
    names = unique_names(features, len(features))
    _check_measures(measures, neighbors, len(names))
    further = [name for name in MEASURES[1:] if name in measures]
    found: list[MeasureRow] = []
    if all(isinstance(run, Mapping) for run in features.values()):
        layers, hsic, examples, said, used = _of_arrays(names, list(features.values()), batch, memory, pairs)
        if further:
            runs = [{str(layer): values for layer, values in run.items()} for run in features.values()]

            def read(run: int, layer: str, start: int, stop: int) -> np.ndarray:
                return finite_rows(names[run], layer, runs[run][layer][start:stop], start)

            limits = (batch, memory, neighbors)
            found, more = compare_same_layers(layers, read, len(names), examples, limits, further)
            used = max(used, more)
    else:
        if "neighbors" in further:
            raise ValueError(
                "measures has 'neighbors', which need features that can be read again: give {layer: array} for each "
                "run, such as memory maps, or leave it out."
            )
        layers, hsic, examples, said, used, shares = _of_streams(
            names, list(features.values()), memory, bool(further), pairs
        )
        found = (
            [measured(layer, "procrustes", *matrices(shares[place], len(names))) for place, layer in enumerate(layers)]
            if further
            else []
        )
    cka = cka_of(hsic).reshape(len(names), len(layers), len(names), len(layers))
    dead = [f"{names[r]}, {layers[i]}" for r, i in np.argwhere(np.isnan(np.einsum("aiai->ai", cka)))]
    notes = [f"Layers that do not vary have no CKA: {'; '.join(dead[:5])}."] if dead else []
    if len(names) < 3:
        notes.append(f"{len(names)} run{'s' * (len(names) > 1)}: too few for intervals over seeds.")
    return LayerComparison(
        tuple(names), tuple(layers), cka, tuple(_rows(cka, layers)), examples, said, used, tuple(notes), tuple(found)
    )


def _check_measures(measures: Sequence[str], neighbors: int, runs: int) -> None:
    unknown = [name for name in measures if name not in MEASURES]
    if unknown:
        raise ValueError(f"measures has {unknown[0]!r}: choose among {', '.join(MEASURES)}.")
    if neighbors < 1:
        raise ValueError(f"neighbors={neighbors} must be at least 1.")
    if runs < 2 and {*measures} - {"cka"}:
        raise ValueError(
            "There is one run: procrustes and neighbors compare each layer between runs. Give two or more, or leave "
            "measures= out."
        )


def _rows(cka: Float[np.ndarray, "r l r l"], layers: Sequence[str]) -> Iterator[LayerRow]:
    """Yield mean CKA of each two layers: of different runs, and within one."""
    for i, first in enumerate(layers):
        for j, second in enumerate(layers[i:], start=i):
            both = (cka[:, i, :, j] + cka[:, j, :, i]) / 2
            if len(cka) > 1:
                yield mean_row(first, second, "seeds", both, pairs=True)
            if i != j:
                yield mean_row(first, second, "one seed", both, pairs=False)


def _of_arrays(
    names: Sequence[str], runs: Sequence[Mapping[Any, Any]], batch: int, memory: int, pairs: Pairs
) -> tuple[list[str], np.ndarray, int, str, int]:
    layers = unique_names(runs[0], len(runs[0]), "layers")
    if not layers:
        raise ValueError(f"features[{names[0]!r}] has no layers.")
    for name, run in zip(names, runs, strict=True):
        check_layers(name, [str(layer) for layer in run], names[0], layers)
    sets = [(name, str(layer), values) for name, run in zip(names, runs, strict=True) for layer, values in run.items()]
    sets.sort(key=lambda one: (names.index(one[0]), layers.index(one[1])))
    counts = {(name, layer): count_examples(name, layer, values) for name, layer, values in sets}
    examples = counts[names[0], layers[0]]
    for (name, layer), count in counts.items():
        if count != examples:
            raise ValueError(
                f"features[{names[0]!r}][{layers[0]!r}] has {examples:,} examples and features[{name!r}][{layer!r}] "
                f"{count:,}: CKA compares layers on the same examples, in the same order."
            )
    if examples < FEWEST:
        raise ValueError(f"Unbiased CKA needs at least {FEWEST} examples, there are {examples}.")

    def read(place: int, start: int, stop: int) -> np.ndarray:
        name, layer, values = sets[place]
        return rows_of(name, layer, values[start:stop])

    def refuse(place: int, start: int, stop: int) -> None:
        name, layer, values = sets[place]
        finite_rows(name, layer, values[start:stop], start)

    count = len(sets)
    widths = [read(place, 0, 1).shape[1] for place in range(count)]
    if pairs == "batch":
        parts = -(-examples // batch)
        ends = [examples * part // parts for part in range(parts + 1)]
        largest, begin = -(-examples // parts), 0
        used = _within(
            batch_bytes(widths, largest), memory, f"{count} layers by batches of {largest}", "or lower batch="
        )
        within = BatchHSIC(lambda place, start, stop: refuse(place, begin + start, begin + stop))
        for begin, end in zip(ends[:-1], ends[1:], strict=True):
            within.add([read(place, begin, end) for place in range(count)])
        said = f"pairs within {parts} batches of at most {largest} examples, {within.said}"
        return layers, within.hsic(), examples, said, used + 8 * largest * sum(widths)
    sums = CrossProducts.bytes(widths)
    block = min(batch, examples)
    while block > 16 and tile_bytes(widths, examples, block) > memory:
        block //= 2
    tiles = tile_bytes(widths, examples, block)
    if min(sums, tiles) > memory:
        raise ValueError(
            f"{count} layers of {sum(widths):,} features together take {min(sums, tiles) / 2**20:,.0f} MiB at "
            f"least, memory={memory} is less: raise memory=, compare fewer layers at a time, or pool their features."
        )
    arithmetic = (sum(widths) ** 2, examples * (sum(widths) + count**2) / 2)  # per example
    if sums <= memory and (arithmetic[0] <= arithmetic[1] or tiles > memory):
        products = CrossProducts(widths)
        for start in range(0, examples, batch):
            stop = min(start + batch, examples)
            products.add([finite_rows(name, layer, values[start:stop], start) for name, layer, values in sets])
        said = f"one pass in batches of {min(batch, examples)} examples"
        return layers, products.hsic(), examples, said, sums + 24 * min(batch, examples) * sum(widths)
    hsic, precision = tiled_hsic(read, count, examples, block, refuse=refuse)
    return layers, hsic, examples, f"pairs of blocks of {block} examples, {precision}", tiles


def _within(used: int, memory: int, what: str, else_: str) -> int:
    if used > memory:
        raise ValueError(f"{what} take {used / 2**20:,.0f} MiB, memory={memory} is less: raise memory=, {else_}.")
    return used


def _of_streams(
    names: Sequence[str], runs: Sequence[Any], memory: int, rotated: bool, pairs: Pairs
) -> tuple[list[str], np.ndarray, int, str, int, Float[np.ndarray, "l p 2"]]:
    products: CrossProducts | BatchHSIC | None = None
    paired: PairedProducts | None = None
    layers: list[str] = []
    largest, used, seen, batches = 0, 0, 0, 0
    parts: list[np.ndarray] = []

    def checked() -> list[np.ndarray]:
        sets = [(name, layer) for name in names for layer in layers]
        return [finite_rows(*one, part, seen) for one, part in zip(sets, parts, strict=True)]

    def refuse(place: int, start: int, stop: int) -> None:
        checked()

    for layers, parts in _in_step(names, runs):
        widths, count = [part.shape[1] for part in parts], len(parts[0])
        if products is None:
            same = [
                (a * len(layers) + layer, b * len(layers) + layer)
                for layer in range(len(layers))
                for a in range(len(names))
                for b in range(a + 1, len(names))
            ]
            used = batch_bytes(widths, count) if pairs == "batch" else CrossProducts.bytes(widths)
            used += PairedProducts.bytes(widths, same) if rotated else 0
            rather = "lower the size of batches" if pairs == "batch" else "pool their features, write pairs='batch'"
            what = f"{len(parts)} layers of {sum(widths):,} features together, read once,"
            _within(used, memory, what, f"{rather}, or give arrays or memory maps, which can be read again")
            products = BatchHSIC(refuse) if pairs == "batch" else CrossProducts(widths)
            paired = PairedProducts(widths, same) if rotated else None
        products.add(parts if pairs == "batch" else checked())
        if paired is not None:
            paired.add(checked())
        largest, seen, batches, parts = max(largest, count), seen + count, batches + 1, []
    if products is None:
        raise ValueError("features has no batches: a generator that was read before is empty, make it anew.")
    shares = np.empty((len(layers), 0, 2)) if paired is None else paired.shares().reshape(len(layers), -1, 2)
    said = f"one pass in batches of {largest} examples"
    if isinstance(products, BatchHSIC):
        said = f"pairs within {batches} batches of at most {largest} examples, {products.said}"
    return layers, products.hsic(), seen, said, used + 24 * largest * sum(widths), shares


def _in_step(names: Sequence[str], runs: Sequence[Any]) -> Iterator[tuple[list[str], list[np.ndarray]]]:
    """Yield layers, and the features of each layer of each run, batch after batch."""
    streams = [_stream(name, run) for name, run in zip(names, runs, strict=True)]
    layers: list[str] = []
    seen = 0
    while True:
        batches = [next(stream, None) for stream in streams]
        if all(found is None for found in batches):
            return
        ended = [name for name, found in zip(names, batches, strict=True) if found is None]
        if ended:
            raise ValueError(
                f"The batches of {ended[0]!r} end after {seen:,} examples, others go on: give every run the same "
                "examples, in the same batches."
            )
        parts = []
        for name, found in zip(names, batches, strict=True):
            assert found is not None
            layers = layers or unique_names(found, len(found), "layers")
            check_layers(name, [str(layer) for layer in found], names[0], layers)
            by_name = {str(layer): values for layer, values in found.items()}
            parts += [rows_of(name, layer, by_name[layer]) for layer in layers]
        sizes = {len(part) for part in parts}
        if len(sizes) != 1:
            raise ValueError(
                f"A batch has {min(sizes)} examples in one layer and {max(sizes)} in another (after {seen:,} "
                "examples): all runs and layers need the same examples, in the same batches."
            )
        seen += len(parts[0])
        yield layers, parts
        del batches, found, by_name, parts  # before the next batch takes as much again


def _stream(name: str, run: Any) -> Iterator[Mapping[Any, Any]]:
    if isinstance(run, Mapping):
        raise ValueError(
            f"features[{name!r}] is a mapping of layers and another run an iterable of batches: give all runs in one "
            "form."
        )
    if hasattr(run, "shape") or not hasattr(run, "__iter__"):
        raise ValueError(
            f"features[{name!r}] is a {type(run).__name__}: give {{layer: array}}, or an iterable of such batches."
        )
    for found in run:
        if not isinstance(found, Mapping):
            raise ValueError(
                f"A batch of features[{name!r}] is a {type(found).__name__}: every batch is {{layer: array}}."
            )
        yield found
