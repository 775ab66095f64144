"""What a build writes: tables row by row."""

import math
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.engine.artifacts import Store
from pipeline.engine.build import Build
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph


def test_rows_with_gaps_become_columns(tmp_path: Path) -> None:
    graph = Graph()
    build = Build(graph.resolve("toy", compose_run(())), graph, Store(tmp_path), tmp_path, {})
    build.write_rows("rows.parquet", [{"a": 1, "b": 2.0}, {"a": 3}])
    table = pq.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["a"] == [1, 3] and math.isnan(table["b"][1])
