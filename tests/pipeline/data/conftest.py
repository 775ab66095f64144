"""Generated rows for the data tests; the network is closed unless a test is marked ``archives``."""

import socket
from pathlib import Path

import pytest

from pipeline.config.data import DataConfig
from pipeline.data.records import Records, fingerprint, save_records


@pytest.fixture(autouse=True)
def closed_network(request, monkeypatch):
    if request.node.get_closest_marker("archives"):
        return

    def refuse(*args, **kwargs):
        raise OSError("a unit test tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def prepared(tmp_path):
    """Function that writes canonical splits into a folder as the prepare stage would."""

    def write(splits, kind="image", class_names=(), name="made") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        records = Records(kind, splits, list(class_names), source="made up")
        described = {
            "kind": kind,
            "splits": list(splits),
            "class_names": list(class_names),
            "drops": {},
            "licence": "made up",
            "source": "made up",
            "fingerprint": fingerprint(records),
        }
        save_records(records, folder, described)
        return folder

    return write


@pytest.fixture
def config():
    return DataConfig(name="made")
