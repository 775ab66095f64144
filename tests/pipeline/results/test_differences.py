"""Settings, numbers and files in which two artifacts differ are listed, and nothing else."""

import dataclasses

import pytest

from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.results.differences import show_differences
from tests.pipeline.toy_cells import run_config


def shown(capsys, store, *between, out=None):
    config = dataclasses.replace(run_config(), between=list(map(str, between)), out=out)
    show_differences(Graph(), store, config)
    return capsys.readouterr()


@pytest.fixture
def keys(study):
    return [member.node.key for member in study[1].members["square"]]


def test_two_seeds_differ_in_their_seed_their_input_and_their_numbers(study, keys, capsys):
    said = shown(capsys, study[0], keys[0][:8], keys[1])
    lines = {tuple(line.split()[:2]): line.split() for line in said.out.splitlines()[1:]}
    assert lines["setting", "seeds.init"][2:4] == ["0", "1"] and ("setting", "training.lr") not in lines
    assert ("input", "draw") in lines and ("file", "square.safetensors") in lines
    first, second, change = map(float, lines["number", "sum"][2:5])
    assert change == pytest.approx(second - first, abs=1e-3) and first != second
    assert "first: square toy-none-" in said.err and "-pntk-s1-" in said.err.partition("second: ")[2]


def test_equal_artifacts_of_two_stores_have_no_difference(study, keys, tmp_path, capsys):
    store, graph = Store(tmp_path / "other store"), Graph(["experiment=toy"])
    Puller(store, graph).pull(graph.resolve("square", run_config()))
    said = shown(capsys, study[0], keys[0], f"{store.root}/{keys[0][:6]}")
    assert "nothing differs" in said.err and not said.out
    (folder,) = store.root.glob(f"square/*/*{keys[0]}")
    assert "nothing differs" in shown(capsys, study[0], keys[0], folder).err


def test_differences_are_written_to_a_file(study, keys, tmp_path, capsys):
    shown(capsys, study[0], *keys[:2], out=str(tmp_path / "diff.csv"))
    assert (tmp_path / "diff.csv").read_text().startswith("what,name,first,second,change\nsetting,seeds.")


@pytest.mark.parametrize(
    ("between", "words"),
    [
        ([], "compares two artifacts, and between names 0: write 'between=\\[KEY1,KEY2\\]'"),
        (["a"], "and between names 1"),
        (["KEY", "quickstart"], "'quickstart', which is neither a key nor the folder"),
        (["KEY", "000000000000"], "has no finished artifact whose key begins so"),
        (["KEY", "nowhere/0f"], "there is no store nowhere"),
    ],
)
def test_what_names_no_two_artifacts_is_one_sentence(study, keys, capsys, between, words):
    with pytest.raises(UserError, match=words):
        shown(capsys, study[0], *(keys[0] if word == "KEY" else word for word in between))


def test_too_few_digits_are_refused_with_what_they_fit(study, capsys):
    first = min(one.name.rpartition("-")[2] for stage in ("draw", "square") for one in study[0].finished(stage))
    with pytest.raises(UserError, match="keys begin .*: write more digits|between names|has no finished"):
        for digit in "0123456789abcdef":  # seven keys: some share a first digit, or none does
            shown(capsys, study[0], first, digit)
