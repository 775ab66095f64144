"""Stage ``kernel``: what its matrices depend on, and how close a sketch comes."""

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.stages.kernel.read import read_gram, read_spectrum_shares
from tests.stages.image_cases import pull

pytestmark = pytest.mark.filterwarnings("ignore:The .srun. command")  # Lightning, where SLURM is installed


@pytest.mark.parametrize("kind", ["pntk", "trntk", "conjugate", "embedding"])
def test_no_feature_kernel_reads_test_labels(kind, images, tmp_path):
    given = dict(word.split("=", 1) for word in images)
    rows = dict(np.load(given["data.path.test"]))
    np.savez(tmp_path / "test.npz", image=rows["image"], label=(rows["label"] + 1) % 3)
    relabeled = (f"data.path.test={tmp_path}/test.npz",)
    first, second = (
        read_gram(pull("kernel", tmp_path, *images, f"kernel={kind}", *extra)) for extra in ((), relabeled)
    )
    assert (first["test_labels"] != second["test_labels"]).all()
    np.testing.assert_array_equal(first["test"], second["test"])


def test_sketched_kernel_stays_close_to_the_exact_one(images, tmp_path):
    exact, sketched = (
        read_gram(pull("kernel", tmp_path, *images, "kernel=pntk", *extra))
        for extra in ((), ("kernel.sketch=tensorsketch", "kernel.dim=512"))
    )
    assert np.abs(exact["train"] - sketched["train"]).mean() < 0.1
    np.testing.assert_allclose(np.diagonal(sketched["train"]), 1, atol=1e-5)
    assert sketched["test"].shape == exact["test"].shape


def test_kernels_of_real_targets_have_a_page_without_alignment(tmp_path):
    words = (
        "data=teacher", "model=two_layer", "model.width=8", "training.loss=regression", "data.synthetic.n_train=24",
        "data.synthetic.n_test=8", "training.epochs=1", "training.batch_size=8", "kernel.n_train=8", "kernel.n_test=4",
        "wants=[kernel]", "cells.seed=0:2",
    )  # fmt: skip
    page = (pull("report", tmp_path, *words).folder / "report.html").read_text()
    assert "effective rank" in page and "alignment of the kernel with the labels" not in page


@pytest.mark.parametrize(("mode", "checked"), [("off", 0), ("every", 1)])
def test_the_certificate_is_a_setting(mode, checked, images, tmp_path):
    made = pull("kernel", tmp_path, *images, "kernel=pntk", f"kernel.certify={mode}")
    found = made.metrics["certificate"]
    assert found["certify"] == mode and (found["passes_checked"] == found["passes"] > 0) == bool(checked)


def test_the_leading_eigenvalues_stand_for_the_whole_spectrum(images, tmp_path):
    whole, leading = (
        pull("kernel", tmp_path, *images, "kernel=pntk", f"kernel.spectrum={which}") for which in ("whole", "leading")
    )
    shares = read_spectrum_shares(whole)
    assert shares.sum() == pytest.approx(1)
    few = read_spectrum_shares(leading)
    np.testing.assert_allclose(few, shares[: len(few)], atol=2e-5)
    found = leading.metrics
    assert found["effective_rank"] == pytest.approx(whole.metrics["effective_rank"])  # so few points leave no chance
    assert found["effective_rank_low"] <= found["effective_rank"] <= found["effective_rank_high"]
    assert "effective_rank_low" not in whole.metrics


def test_a_training_that_diverged_is_said_in_one_sentence(images, tmp_path):
    wild = ("training.lr=1e30", "training.optimizer=sgd", "training.schedule=constant", "training.warmup=0")
    with pytest.raises(UserError, match="diverged.*[Ll]ower training.lr"):
        pull("kernel", tmp_path, *images, *wild)
