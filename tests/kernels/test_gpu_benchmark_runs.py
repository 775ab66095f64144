"""The accelerator benchmark takes the same path on a CPU at small N."""

from argparse import Namespace

import numpy as np
import pytest

from benchmarks import kernels_gpu
from benchmarks.kernels_gpu import ROWS, as_table, measure, measure_all


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_benchmark_reports_time_ceiling_and_error(precision: str, tmp_path, capsys) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 3, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    np.save(tmp_path / "labels.npy", np.arange(24) % 10)
    options = Namespace(
        n=24, kind="pntk", precision=precision, device="cpu", images=tmp_path / "images.npy", weights=None,
        labels=tmp_path / "labels.npy", no_max_pool=False, width=4, memory="1GiB",
        out=tmp_path / "gram.safetensors", block=3, profile=precision == "tf32",
    )  # fmt: skip
    report = measure(options)
    # Which operations are among the slowest differs between machines.
    assert ("Self CPU time total" in capsys.readouterr().err) == options.profile
    assert report["n"] == 24 and (tmp_path / "gram.safetensors").exists()
    assert report["seconds"] > 0 and report["ceiling_tflops"] > 0 and report["planned_flop"] > 0
    assert report["error"] < (2e-2 if precision == "bfloat16" else 1e-3)
    assert report["error_of_float32"] < 1e-3
    assert report["surrogate_train"] == 20 and -1 <= report["tau"] <= 1
    options.n = 25
    with pytest.raises(ValueError, match="holds 24 images, 25 were requested"):
        measure(options)


@pytest.mark.slow
def test_one_command_measures_every_row_and_skips_what_the_time_does_not_hold(monkeypatch) -> None:
    few = (ROWS[1], *ROWS[3:6])  # one that is profiled, every precision, a chosen form
    monkeypatch.setattr(kernels_gpu, "ROWS", few)
    options = Namespace(
        n=10, device="cpu", images=None, weights=None, labels=None, no_max_pool=False, width=2, memory="1GiB",
        out=None, block=2, profile=False, forms=None, minutes=5.0, processes=2,
    )  # fmt: skip
    rows = measure_all(options)
    assert len(rows) == len(few) + 1 and rows[-1]["processes"] == 2
    assert not [row["failed"] for row in rows if "failed" in row]
    assert all(row["error"] < (5e-2 if row["precision"] == "bfloat16" else 1e-2) for row in rows)
    shares = [row["in_products"] for row in rows if row.get("profile")]
    assert shares and all(0 < share < 1 for share in shares)
    lines = as_table(rows).splitlines()
    assert len(lines) == len(rows) + 4 and {line.count("|") for line in lines[2:]} == {15}
    options.minutes = 0.0
    late = measure_all(options)
    assert all("skipped: planned" in row["failed"] for row in late[:-1])
    assert as_table(late).count("skipped: planned") == len(few)
