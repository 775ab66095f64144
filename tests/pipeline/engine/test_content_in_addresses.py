"""Addresses see the content of what a setting names, and never where it lies."""

import dataclasses
import sys
from pathlib import Path

import pytest

from models.configs import ModelConfig, TextClassifierConfig, ViTConfig
from models.fields import setting
from pipeline.config.data import TextConfig
from pipeline.config.run import RunConfig
from pipeline.data import prepare, source_identity
from pipeline.data.errors import DataError
from pipeline.data.sources.hub import load_hub
from pipeline.data.tokenize import FOLDERS, packaged_folder
from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.engine.keys import flatten


def folder(at: Path, content: str) -> str:
    at.mkdir(parents=True, exist_ok=True)
    (at / "model.safetensors").write_text(content)
    return str(at)


def run_of(model: ModelConfig) -> RunConfig:
    config = RunConfig(model=model)
    config.data.name, config.data.source, config.data.synthetic.function = "toy", "synthetic", "parabola"
    return config


def key(**changes) -> str:
    config = run_of(changes.pop("model", TextClassifierConfig()))
    for name, value in changes.items():
        setattr(config.data, name, value)
    return Graph().resolve("train", config).key


SETTINGS = {
    "model.path": lambda place: {"model": TextClassifierConfig(weights="path", path=place)},
    "model.path packaged": lambda place: {"model": ViTConfig(weights="packaged", path=place)},
    "model.id": lambda place: {"model": ViTConfig(weights="hub", id=place)},
    "data.text.tokenizer_path": lambda place: {"text": TextConfig(tokenizer="path", tokenizer_path=place)},
    "data.text.tokenizer_id": lambda place: {"text": TextConfig(tokenizer="hub", tokenizer_id=place)},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_folder_is_told_by_its_content(tmp_path, name):
    first = key(**SETTINGS[name](folder(tmp_path / "a", "weights")))
    assert key(**SETTINGS[name](folder(tmp_path / "b", "weights"))) == first
    assert key(**SETTINGS[name](folder(tmp_path / "a", "other weights"))) != first


def test_a_name_that_is_not_read_as_a_folder_stays_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = TextClassifierConfig(weights="packaged", id="minilm")
    before = key(model=model)
    folder(tmp_path / "minilm", "a folder that has the archive's name")
    assert key(model=model) == before


def test_the_store_holds_no_path_of_a_folder(tmp_path):
    config = run_of(ViTConfig(weights="path", path=folder(tmp_path / "weights", "bytes")))
    assert str(tmp_path) not in str(Graph().resolve("train", config).sections)


def test_a_local_folder_of_rows_is_told_by_its_content(tmp_path):
    def of(place: Path, text: str):
        (place / "data").mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            (place / "data" / f"{split}.csv").write_text(f"text,label\n{text} {split},0\n")
        config = RunConfig().data
        config.source, config.kind, config.hub.id = "hub", "text", str(place)
        return source_identity(config), load_hub(config.hub, "text", tmp_path / "cache")

    first, rows = of(tmp_path / "a", "good")
    again, same = of(tmp_path / "b", "good")
    assert (again, same.source) == (first, rows.source)
    other, changed = of(tmp_path / "a", "bad")
    assert other != first and changed.source != rows.source
    assert list(changed.splits["train"]["text"]) == ["bad train"]


def test_the_source_of_a_users_class_is_in_the_address_of_a_setting_that_names_it(tmp_path, monkeypatch):
    @dataclasses.dataclass
    class Own:
        target: str | None = setting(None, "Class of the network.", code=True)

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = []
    for width in (8, 8, 9):
        (tmp_path / "nets_of_mine.py").write_text(f"class Net:\n    width = {width}\n")
        sys.path_importer_cache.clear()
        found.append(dict(flatten("own", Own("nets_of_mine.Net")))["own.target"])
    assert found[0] == found[1] != found[2]
    assert dict(flatten("own", Own())) == {"own.target": None}


def test_an_unpacked_folder_that_was_changed_is_unpacked_anew(tmp_path, monkeypatch, caplog):
    members = {"x/data/encoder.json": b"{}", "x/data/vocab.bpe": b"a b"}
    monkeypatch.setattr("pipeline.data.tokenize.fetch", lambda archive, cache: cache)
    monkeypatch.setattr("pipeline.data.tokenize.read_members", lambda archive, patterns: members)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.data.tokenize.content_of", lambda place: FOLDERS["gpt2"][2])
        made = packaged_folder("gpt2", tmp_path)
    (made / "vocab.json").write_text('{"edited": 0}')
    assert packaged_folder("gpt2", tmp_path) == made
    assert (made / "vocab.json").read_text() == "{}" and "was changed after it was unpacked" in caplog.text


def test_a_file_that_changes_while_it_is_read_is_stored_under_no_address(tmp_path, monkeypatch):
    config = run_of(TextClassifierConfig())
    config.data.source, config.data.kind, config.data.path.format = "path", "text", "csv"
    config.data.path.train = str(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_text("text,label\ngood,0\nbad,1\n")
    read = prepare.load_source

    def slow(*arguments):
        (tmp_path / "rows.csv").write_text("text,label\nbad,0\ngood,1\n")
        return read(*arguments)

    graph, store = Graph(), Store(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "load_source", slow)
        with pytest.raises(DataError, match="changed while they were read.* Run the same command again"):
            Puller(store, graph).pull(graph.resolve("prepare", config))
    assert store.state(store.folder(*graph.resolve("prepare", config).address)) == "failed"
    Puller(store, Graph()).pull(Graph().resolve("prepare", config))
