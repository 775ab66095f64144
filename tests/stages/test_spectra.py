"""Stage ``spectra``: what it writes of a trained network, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.errors import UserError
from pipeline.stages.spectra.claims import optimizer_verdicts
from pipeline.stages.spectra.run import choose_layers
from tests.stages.stage_cases import artifact_with_files


def test_unknown_layers_are_answered_with_the_names() -> None:
    names = ["conv1.weight", "fc.weight", "fc.weight[q]"]
    assert choose_layers(names, ["fc*"]) == ["fc.weight", "fc.weight[q]"]
    with pytest.raises(UserError, match="'head' matches no weight. Weights: conv1.weight, fc.weight"):
        choose_layers(names, ["*", "head"])


def trained(folder: Path, optimizer: str, seed: int, moved: float) -> Gathered:
    config = RunConfig(seed=seed)
    config = replace(config, training=replace(config.training, optimizer=optimizer))
    metrics = {"ks_start_mean": moved + 0.001 * seed, "kernel_kta": 10 * moved}
    artifact = artifact_with_files(folder / "spectra" / f"{optimizer}-{seed}-{moved}", {}, metrics)
    return Gathered({"seed": str(seed)}, config, artifact, "python run.py")


def test_optimizers_are_compared_over_paired_seeds(tmp_path: Path) -> None:
    sgd = [trained(tmp_path, "sgd", seed, 0.02) for seed in range(3)]
    adam = [trained(tmp_path, "adam", seed, 0.05) for seed in range(3)]
    still = [trained(tmp_path, "adam", seed, 0.01) for seed in range(3)]
    assert [verdict.verdict for verdict in optimizer_verdicts([*sgd, *adam])] == [REPRODUCED]
    assert [verdict.verdict for verdict in optimizer_verdicts([*sgd, *still])] == [NOT_REPRODUCED]
    assert [verdict.verdict for verdict in optimizer_verdicts([*sgd[:2], *adam])] == [UNDECIDED], "two pairs are few"
    assert not optimizer_verdicts(sgd)


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
