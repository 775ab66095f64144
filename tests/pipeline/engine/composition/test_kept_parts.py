"""What is kept of earlier compositions changes no configuration and no refusal, and a changed file is read again."""

import os
import time
from pathlib import Path

import pytest

from pipeline.engine.cells import compose_run, hydra_home
from pipeline.engine.composition import kept_parts
from pipeline.engine.composition.private_hydra import private_hydra
from pipeline.errors import UserError

EXPERIMENTS = sorted(path.stem for path in (Path(__file__).parents[4] / "conf" / "experiment").glob("*.yaml"))


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(kept_parts, "_kept", kept_parts._Kept())


def both(words: list[str]) -> tuple[object, object]:
    """Compose with what is kept, and by Hydra alone."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with hydra_home({}):
        keeping = GlobalHydra.instance().config_loader()
        assert isinstance(keeping, kept_parts.KeepingLoader)
        plain = ConfigLoaderImpl(keeping.config_search_path)
        return tuple(loader.load_configuration("config", words, RunMode.RUN) for loader in (keeping, plain))


def described(node: object) -> object:
    """Everything of a composed configuration: values, order, types of sections, flags."""
    from omegaconf import DictConfig, ListConfig

    if isinstance(node, DictConfig) and not node._is_none():
        inner = [(key, described(one)) for key, one in node._content.items()]
        return (node._metadata.object_type, node._metadata.ref_type, node._metadata.flags, inner)
    if isinstance(node, ListConfig) and not node._is_none():
        return (node._metadata.flags, [described(one) for one in node._content])
    return (type(node), node._value(), node._metadata.ref_type)


def test_what_is_composed_is_what_hydra_composes_alone():
    for words in (
        ["experiment=quickstart"],
        ["experiment=quickstart", "model=resnet18", "hydra.run.dir=elsewhere"],
        ["experiment=quickstart", "model=resnet18", "kernel=conjugate", "hydra/launcher=joblib"],
        ["experiment=quickstart", "model=mlp", "kernel=conjugate", "training.lr=0.5", "~cells.seed"],
    ):
        ours, hydras = both(words)
        assert described(ours) == described(hydras), words
    assert len(kept_parts._kept.merges) == 3, "the test must go on from kept merges"


@pytest.mark.slow
@pytest.mark.parametrize("debug", [[], ["debug=tiny"]], ids=["full", "tiny"])
def test_experiments_are_composed_as_by_hydra_alone(debug):
    for name in EXPERIMENTS[len(debug) :: 8]:
        ours, hydras = both([f"experiment={name}", *debug])
        assert described(ours) == described(hydras), name


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path, monkeypatch):
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    words = (f"--config-dir={tmp_path}", "experiment=mine")

    def written(epochs: int, seconds_ago: float) -> int:
        file.write_text(f"# @package _global_\nexperiment_name: mine\ntraining: {{epochs: {epochs}}}\n")
        os.utime(file, (time.time() - seconds_ago,) * 2)
        return compose_run(words).training.epochs

    monkeypatch.setattr(kept_parts, "_RECENT_NS", -1)  # the time of a change to its record cannot be set back
    assert [written(3, 60), compose_run(words).training.epochs, written(4, 60), written(5, 60)] == [3, 3, 4, 5]
    assert any(str(tmp_path) in name[1] for name in kept_parts._kept.files)
    kept_parts._kept.files.clear()
    monkeypatch.undo()
    assert [written(6, 0), written(7, 0)] == [6, 7]
    assert not any(str(tmp_path) in name[1] for name in kept_parts._kept.files), "it may change within the same tick"


def test_a_value_that_does_not_fit_is_refused_in_the_same_words_again(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "odd.yaml").write_text("# @package _global_\ntraining: {epochs: ten}\n")
    said = []
    for _ in range(3):
        with pytest.raises(UserError, match="In conf file experiment/odd: training.epochs: .*'ten'") as caught:
            compose_run((f"--config-dir={tmp_path}", "experiment=odd"))
        said.append(str(caught.value))
    assert len(set(said)) == 1


def test_a_choice_may_follow_from_another_one(tmp_path):
    (tmp_path / "own.yaml").write_text("defaults: [config, {override features: '${kernel}_own'}, _self_]\n")
    (tmp_path / "features").mkdir()
    for kind in ("pntk", "trntk"):
        (tmp_path / "features" / f"{kind}_own.yaml").write_text(f"layers: [{kind}]\n")
    for kind in ("pntk", "trntk", "pntk"):
        words = (f"--config-dir={tmp_path}", "--config-name=own", f"kernel={kind}")
        assert compose_run(words).features.layers == [kind]


def test_schemas_of_another_hydra_are_not_mixed_up():
    for _ in range(2):
        with private_hydra():
            assert compose_run(("experiment=quickstart", "seed=3")).seed == 3
    assert compose_run(("experiment=quickstart",)).seed == 0
