"""What an artifact rests on says of which cell it is, where it was told no labels of its own."""

from pipeline.engine.inventory.record import Record
from pipeline.results.chosen import Chosen, with_upstream_labels


def record(stage, key, *inputs):
    provenance = {"inputs": {one.address: one.key for one in inputs}}
    return Record(stage, f"toy-{key}", f"/store/{stage}/{key[:2]}/toy-{key}", 0.0, 1, 1, key, provenance)


def test_an_artifact_has_the_labels_of_what_it_rests_on():
    rows = record("prepare", "0" * 12)
    networks = [record("train", str(seed) * 12, rows) for seed in (1, 2)]
    snapshots = record("snapshots", "3" * 12, networks[0])
    kernel = record("kernel", "4" * 12, networks[1], rows)
    report = record("report", "5" * 12, *networks)
    records = [rows, *networks, snapshots, kernel, report]
    labels = {one.key: {"seed": str(seed)} for seed, one in enumerate(networks)} | {kernel.key: {"kernel": "pntk"}}
    found = with_upstream_labels(Chosen(records, {one.address: one for one in records}, labels))
    assert found[snapshots.key] == {"seed": "0"}
    assert found[kernel.key] == {"seed": "1", "kernel": "pntk"}
    assert found[rows.key] == {} and found[report.key] == {}, "a gather is of no cell"
