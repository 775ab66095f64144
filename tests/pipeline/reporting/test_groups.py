"""Groups are named in words, and no name hides a group."""

from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.reporting.groups import grouped, grouped_by_label
from pipeline.stages.surrogate.claims import find_group


def members(*labels: str) -> list[Gathered]:
    config = compose_run(())
    return [Gathered({"model": label, "seed": seed}, config, None, "") for label in labels for seed in ("0", "1")]


def test_groups_have_names_in_words_and_keep_their_labels_in_files():
    found = members("mlp", "resnet18, model.width=8")
    assert [(name, len(group)) for name, group in grouped(found).items()] == [("mlp", 2), ("resnet18, width 8", 2)]
    assert list(grouped_by_label(found)) == ["mlp", "resnet18, model.width=8"]


def test_names_that_would_be_equal_stay_labels():
    found = members("mlp, training.lr=0.1", "mlp, pretrain.lr=0.1")
    assert len(grouped(found)) == 2 and all(len(group) == 2 for group in grouped(found).values())


def test_options_of_a_report_find_a_group_by_its_label_and_by_its_name():
    groups = grouped(members("mlp", "resnet18, model.width=8"))
    for label in ("model.width=8", "width 8", "resnet18"):
        assert find_group(groups, label) is groups["resnet18, width 8"]
    assert find_group(groups, "width 16") == []
