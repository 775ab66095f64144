"""Artifacts are found by their keys, in few listings, wherever this or an earlier version has put them."""

import os

import pytest

from pipeline.engine.artifacts import Artifact, Store, open_partial
from pipeline.engine.inventory.listing import Listing

KEY = "ab0123456789"


@pytest.mark.parametrize("place", ["ab/toy-s0", "toy-s0", "ab/former-name", "former-name"])
def test_a_key_is_found_under_any_name_in_either_layout(tmp_path, place):
    folder = tmp_path / "train" / f"{place}-{KEY}"
    folder.mkdir(parents=True)
    (tmp_path / "train" / "ab" / f"other-{KEY[::-1]}").mkdir(parents=True)
    found = Listing(tmp_path).place("train", "toy-s0", KEY)
    assert found.folder == folder and found.entry is not None and found.entry.path == str(folder)
    assert Store(tmp_path).folder("train", "toy-s0", KEY) == folder
    assert Artifact(folder).stage == "train" and Store(tmp_path).named(f"train/toy-s0-{KEY}") == folder


def test_a_new_artifact_goes_to_the_folder_of_its_first_two_digits(tmp_path):
    expected = tmp_path / "train" / "ab" / f"toy-s0-{KEY}"
    assert Store(tmp_path).folder("train", "toy-s0", KEY) == expected
    found = Listing(tmp_path).place("train", "toy-s0", KEY)
    assert (found.folder, found.entry, found.beside) == (expected, None, frozenset())


def test_an_attempt_of_an_earlier_version_goes_on_where_it_is(tmp_path):
    flat = tmp_path / "train" / f"former-{KEY}"
    open_partial(flat)
    found = Listing(tmp_path).place("train", "toy-s0", KEY)
    assert (found.folder, found.entry, found.beside) == (flat, None, frozenset({".partial"}))
    store = Store(tmp_path)
    assert store.folder("train", "toy-s0", KEY) == flat
    flat.with_name(f"{flat.name}.partial").rename(tmp_path / "elsewhere")  # such as by stage=gc
    assert store.folder("train", "toy-s0", KEY) == tmp_path / "train" / "ab" / f"toy-s0-{KEY}"


def test_a_thousand_artifacts_take_a_listing_for_each_folder_and_no_more(tmp_path, monkeypatch):
    keys = [f"{number % 16:02x}{number:010x}" for number in range(1000)]
    for key in keys:
        (tmp_path / "train" / key[:2] / f"toy-{key}").mkdir(parents=True)
    calls: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or scan(path))
    listing = Listing(tmp_path)
    assert all(listing.place("train", "toy", key).entry for key in keys)
    assert len(listing.finished("train")) == 1000
    assert len(calls) == 1 + 16


def test_a_link_between_stage_and_artifacts_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    (outside / f"thesis-{KEY}").mkdir(parents=True)
    (tmp_path / "store" / "train").mkdir(parents=True)
    (tmp_path / "store" / "train" / "ab").symlink_to(outside)
    assert Listing(tmp_path / "store").finished("train") == []
