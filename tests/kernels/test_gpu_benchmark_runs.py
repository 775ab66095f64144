"""The accelerator benchmark takes the same path on a CPU at small N."""

from argparse import Namespace

import numpy as np
import pytest

from benchmarks.kernels_gpu import measure


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
