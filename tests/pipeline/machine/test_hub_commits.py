"""A branch of the hub is addressed by the commit that it is at here, so that other content has another address."""

import pytest

from pipeline.config.data import DataConfig, HubConfig
from pipeline.data.sources.identity import source_identity
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.machine import hub_commits
from pipeline.machine.hub_commits import settled_commit

ONE, OTHER = "1" * 40, "2" * 40


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a hub that counts its questions and knows one commit."""
    asked = []
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_commits, "_ASKED", {})
    monkeypatch.setattr(hub_commits, "_newest", lambda *place: (asked.append(place), ONE)[1])
    return tmp_path, asked


def note(folder, kind, branch, commit):
    place = folder / f"{kind}s--a--b" / "refs" / branch
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(commit)


def test_the_hub_is_asked_once_and_its_answer_stays_when_the_branch_moves(cache, monkeypatch):
    folder, asked = cache
    assert settled_commit("a/b", None, "dataset") == ONE and settled_commit("a/b", "main", "dataset") == ONE
    assert asked == [("a/b", "main", "dataset")]
    assert (folder / "datasets--a--b" / "refs" / "main").read_text() == ONE
    monkeypatch.setattr(hub_commits, "_ASKED", {})  # as in a new process
    monkeypatch.setattr(hub_commits, "_newest", lambda *place: OTHER)
    assert settled_commit("a/b", None, "dataset") == ONE
    assert settled_commit("a/b", "refs/convert/parquet", "dataset") == OTHER


@pytest.mark.parametrize("branch", ["../../x", "/etc/passwd", "a b", ""])
def test_no_name_of_a_branch_leaves_the_cache(cache, branch):
    _, asked = cache
    assert settled_commit("a/b", branch, "dataset") in (None, ONE)
    assert all(place[1] == "main" for place in asked)


def test_a_damaged_note_and_a_hub_that_is_away_tell_nothing(cache, monkeypatch):
    folder, _ = cache
    note(folder, "dataset", "main", "half a com")
    monkeypatch.setattr(hub_commits, "_newest", lambda *place: None)
    assert settled_commit("a/b", None, "dataset") is None
    hub = DataConfig(name="x", source="hub", hub=HubConfig(id="a/b", revision="dev"))
    assert source_identity(hub)["revision"] == "dev"


def test_rows_networks_and_tokenizers_of_a_branch_move_with_its_commit(cache):
    folder, _ = cache
    rows = DataConfig(name="x", source="hub", hub=HubConfig(id="a/b", revision="dev"))
    text = ("data=tweets", "model=bert", "model.weights=hub", "model.id=a/b", "data.text.tokenizer=hub")
    text = (*text, "data.text.tokenizer_id=a/b", "stage=train")
    network = (*text, "model.revision=dev", f"data.text.tokenizer_revision={ONE}")
    tokens = (*text, f"model.revision={ONE}", "data.text.tokenizer_revision=dev")

    def addresses():
        return [Graph(one).resolve("train", compose_run(one)).key for one in (network, tokens)]

    found = []
    for commit in (ONE, OTHER):
        note(folder, "dataset", "dev", commit)
        note(folder, "model", "dev", commit)
        found.append((source_identity(rows)["revision"], *addresses()))
    assert found[0][0] == ONE and found[1][0] == OTHER
    assert found[0][1] != found[1][1] and found[0][2] != found[1][2]
    pinned = (*text, f"model.revision={OTHER}", f"data.text.tokenizer_revision={ONE}")
    assert Graph(pinned).resolve("train", compose_run(pinned)).key == found[1][1]
