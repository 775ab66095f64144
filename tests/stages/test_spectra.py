"""Stage ``spectra``: what it writes of a trained network, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.verdicts import FAILS, HOLDS, OPEN
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.errors import UserError
from pipeline.stages.spectra.claims import moves_more, optimizer_claims
from pipeline.stages.spectra.layers import choose_layers
from tests.stages.stage_cases import artifact_with_files


def test_unknown_layers_are_answered_with_the_names() -> None:
    names = ["conv1.weight", "fc.weight", "fc.weight[q]"]
    assert choose_layers(names, ["fc*"]) == ["fc.weight", "fc.weight[q]"]
    with pytest.raises(UserError, match="'head' matches no weight. Weights: conv1.weight, fc.weight"):
        choose_layers(names, ["*", "head"])


def trained(folder: Path, optimizer: str, seed: int, moved: float) -> Gathered:
    config = RunConfig(seed=seed)
    config = replace(config, training=replace(config.training, optimizer=optimizer))
    metrics = {"ks_start_mean": moved * (1 + 0.01 * seed), "kernel_kta": 10 * moved * (1 + 0.01 * seed)}
    artifact = artifact_with_files(folder / "spectra" / f"{optimizer}-{seed}-{moved}", {}, metrics)
    return Gathered({"seed": str(seed)}, config, artifact, "python run.py")


def test_optimizers_are_compared_over_paired_seeds(tmp_path: Path) -> None:
    sgd = [trained(tmp_path, "sgd", seed, 0.02) for seed in range(5)]
    adam = [trained(tmp_path, "adam", seed, 0.05) for seed in range(5)]
    still = [trained(tmp_path, "adam", seed, 0.01) for seed in range(5)]
    assert [claim.decided.outcome for claim in optimizer_claims([*sgd, *adam])] == [HOLDS]
    assert [claim.decided.outcome for claim in optimizer_claims([*sgd, *still])] == [FAILS]
    assert [claim.decided.outcome for claim in optimizer_claims([*sgd[:4], *adam])] == [OPEN], "four pairs are few"
    assert not optimizer_claims(sgd)


def test_optimizers_that_move_one_measure_only_are_rarely_said_to_differ() -> None:
    """T7: 200 studies of five pairs where the spectra move and the alignment does not; then both (power 90 %)."""
    rng = np.random.default_rng(0)
    for gain, least, most in ((0.01, 0, 18), (0.1, 180, 200)):
        held = 0
        for _ in range(200):
            ks, kta = 0.1 + 0.01 * rng.standard_normal(5), gain + 0.02 * rng.standard_normal(5)
            held += moves_more({"KS distance": ks.tolist(), "KTA": kta.tolist()}).outcome == HOLDS
        assert least <= held <= most
    assert moves_more({"KS distance": [0.1, 0.2, 0.1, 0.2, None], "KTA": [0.1] * 5}).outcome == OPEN


def pull(stage: str, store: Path, *overrides: str) -> Artifact:
    from pipeline.engine.cells import compose_run
    from pipeline.entry import execute

    words = (*overrides, f"stage={stage}", f"paths.store={store}")
    artifact = execute(compose_run(words), words)
    assert artifact is not None
    return artifact


@pytest.mark.filterwarnings("ignore:The `srun` command")
def test_spectra_of_a_trained_network(tmp_path: Path) -> None:
    overrides = (
        "data=teacher",
        "training.loss=regression",
        "debug=tiny",
        "data.synthetic.options.features=24",
        "model=mlp",
        "model.widths=[40]",
        "snapshots=spectra_and_kernel",
    )
    found = pull("spectra", tmp_path, *overrides)
    layers = found.table("layers.parquet").to_pylist()
    assert [row["matrix"] for row in layers] == ["hidden.0.linear.weight"]
    rows = found.table("spectra.parquet").to_pylist()
    assert rows[0]["step"] == 0 and rows[0]["ks_start"] == 0.0 and rows[-1]["change_operator"] > 0
    assert found.metrics["skipped"] == {"head.linear.weight": "short side 1 < 8"}
    assert found.metrics["critical_rate"] > 0
    kernel = found.table("kernel.parquet").to_pylist()
    assert kernel[0]["movement"] == 0.0 and kernel[-1]["movement"] > 0
    with pytest.raises(UserError, match="matches no weight"):
        pull("spectra", tmp_path, *overrides, "spectra.layers=[conv*]")
    with pytest.raises(UserError, match="No weight has a short side of 90"):
        pull("spectra", tmp_path, *overrides, "spectra.min_side=90")
