"""Digests of code: our own files, and whatever a user's class or function consists of."""

import sys

import pytest

from pipeline.errors import UserError
from pipeline.machine import code_digest
from pipeline.machine.code_digest import changed_files, code_record, in_words, own_files, source_of


def test_every_file_of_our_packages_counts_also_an_untracked_one(tmp_path, monkeypatch):
    monkeypatch.setattr(code_digest, "ROOT", tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.py").write_text("width = 8\n")
    read = own_files.__wrapped__
    before = read()
    assert list(before) == ["models/mine.py"]
    (tmp_path / "models" / "mine.py").write_text("width = 9\n")
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "new.py").write_text("")
    monkeypatch.setattr(code_digest, "own_files", read)
    assert changed_files(before) == ["models/mine.py"]
    assert set(read()) == {"models/mine.py", "pipeline/new.py"}


def test_a_record_names_the_files_that_were_used():
    record = code_record(also=["kernels/never_written.py", "models/mlp.py"])
    assert {"models/mlp.py", "pipeline/machine/code_digest.py"} <= set(record["files"]) <= set(own_files())
    assert not changed_files(record["files"])
    assert in_words(["pipeline/help.py", "models/mlp.py"]) == "models/mlp.py and 1 more changed"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's package ``wide_nets`` that imports a module of the user's beside it."""

    def write(where, layer="a = 1\n", note=""):
        folder = tmp_path / where / "wide_nets"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("raise RuntimeError('never run to be hashed')\n")
        (folder / "net.py").write_text(f"import torch, models\nfrom . import blocks{note}\nclass Wide: pass\n")
        (folder / "blocks.py").write_text("def f():\n    from layers_of_mine import layer\n")
        (folder.parent / "layers_of_mine.py").write_text(layer)
        monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
        sys.path_importer_cache.clear()
        return source_of("wide_nets.net:Wide")

    return write


def test_a_users_class_is_told_by_its_source_and_what_it_imports_and_not_by_its_folder(mine):
    here = mine("here")
    assert set(here["files"]) == {"wide_nets", "wide_nets.net", "wide_nets.blocks", "layers_of_mine"}
    assert mine("there") == here
    assert mine("edited", layer="a = 2\n") != here
    assert mine("noted", note="  # wider") != here


def test_a_file_that_an_installed_module_hides_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "code.py").write_text("class Net: pass\n")
    (tmp_path / "torch").mkdir()
    with pytest.raises(UserError, match="the installed module code, which hides your code.py; .*such as my_code"):
        source_of("code.Net")
    assert source_of("torch.nn.Linear")["package"] == "torch"


def test_what_a_script_defines_for_itself_alone_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "net_and_script.py").write_text("class Net: pass\nif __name__ == '__main__':\n    class Main: pass\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert "files" in source_of("net_and_script.Net")
    with pytest.raises(UserError, match="defines no Main; it defines Net"):
        source_of("net_and_script.Main")


def test_installed_code_is_told_by_its_version_and_ours_by_its_name():
    assert source_of("sklearn.svm.SVC")["package"] == "scikit-learn"
    assert source_of("json:loads")["package"] == "python"
    assert source_of("models.mlp:MLP") == {"name": "models.mlp:MLP"}
    with pytest.raises(UserError, match="there is no module no_such_thing on the Python path"):
        source_of("no_such_thing.Net")
