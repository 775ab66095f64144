"""The accelerator benchmark takes the same path on a CPU at small N."""

from argparse import Namespace

import numpy as np
import pytest

from benchmarks.kernels_gpu import measure


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_benchmark_reports_time_ceiling_and_error(precision: str, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    options = Namespace(
        n=5, kind="pntk", precision=precision, device="cpu", images=tmp_path / "images.npy", weights=None,
        no_max_pool=False, width=4, memory="1GiB", out=tmp_path / "gram.safetensors", block=3,
    )  # fmt: skip
    report = measure(options)
    assert report["n"] == 5 and (tmp_path / "gram.safetensors").exists()
    assert report["seconds"] > 0 and report["ceiling_tflops"] > 0 and report["planned_flop"] > 0
    assert report["error"] < (2e-2 if precision == "bfloat16" else 1e-3)
    assert report["error_of_float32"] < 1e-3
    options.n = 7
    with pytest.raises(ValueError, match="holds 6 images, 7 were asked for"):
        measure(options)
