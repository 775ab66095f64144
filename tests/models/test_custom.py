"""Networks of a user's own: what is passed to them, and what is refused before anything trains."""

import re

import pytest
import torch
from torch import nn

from models import build_model
from models.custom import known_arguments
from tests.own_work import enter, write_network

IMAGES = {"input_shape": (1, 8, 8), "n_classes": 3, "seed": 0, "reads": "image"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a blank in its name, which holds a network and is on the path as the folder of a command is."""
    folder = write_network(tmp_path / "my folder", "net_of_one")
    enter(folder, monkeypatch, "net_of_one")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_class_gets_what_it_takes_of_the_data_and_the_users_arguments(here):
    model = build_model("custom", target="net_of_one.MyNet", args={"width": 5}, **IMAGES)
    assert (model.conv.weight.shape, model.fc.weight.shape) == ((5, 1, 3, 3), (3, 5))
    again = build_model("custom", target="net_of_one:MyNet", args={"width": 5}, **IMAGES)
    assert torch.equal(model.fc.weight, again.fc.weight) and model.training
    other = build_model("custom", target="net_of_one.MyNet", args={"width": 5}, **{**IMAGES, "seed": 1})
    assert not torch.equal(model.fc.weight, other.fc.weight)
    assert build_model("custom", target="net_of_one.make", **IMAGES)[1].weight.shape == (3, 64)
    given = build_model("custom", target="torch.nn.Linear", reads="vector", input_shape=(4,), n_classes=2, seed=0)
    assert isinstance(given, nn.Linear) and given.weight.shape == (2, 4)


def test_names_that_are_passed_are_told_by_the_rows():
    assert known_arguments("image", (3, 8, 6), 2)["image_size"] == (8, 6)
    assert known_arguments("text", (16,), 2) == {
        **dict.fromkeys(
            ("num_classes", "n_classes", "num_labels", "num_outputs", "n_outputs", "out_features", "output_dim"), 2
        ),
        "input_shape": (16,),
        "max_length": 16,
        "seq_len": 16,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "net_of_two.MyNet"}, "there is no module net_of_two"),
        ({"target": "net_of_one.MyNot"}, "has no MyNot; did you mean MyNet"),
        ({"target": "net_of_one.number"}, "is no class or function, but int"),
        ({"target": "net_of_one.built"}, "is a module that was built already"),
        ({"target": "net_of_one.no_module"}, "returns dict and not a torch.nn.Module"),
        ({"target": "net_of_one.breaks"}, "net_of_one.breaks fails: RuntimeError: no luck today$"),
        (
            {"target": "net_of_one.wrong_shape"},
            r"take images of shape \(2, 1, 8, 8\): RuntimeError: .*channel",
        ),
        ({"target": "net_of_one.fixed"}, "has 7 outputs and the data have 3 classes"),
        ({"target": "net_of_one.halves"}, r"turns samples .* into \(2, 3, 6, 6\); it must return \(2, 3\)"),
        ({"target": "net_of_one.MyNet", "args": {"widht": 3}}, "takes no 'widht' of model.args .*did you mean width"),
        ({"target": "net_of_one.MyNet", "head": "fcc"}, "no module model.head=fcc; did you mean fc"),
        ({"target": "torch.nn.Bilinear"}, "needs in1_features, in2_features, which the data do not tell"),
        ({"target": "net_of_one.single", "n_classes": 2, "one_logit": False}, "one output for two .*training.loss=bce"),
        ({"hub": "no/such"}, "no safetensors weights at hub repository 'no/such' on this machine"),
        ({}, "needs model.target, such as model.target=mynet.MyNet"),
    ],
)
def test_what_is_no_network_for_the_data_is_refused(here, options, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_model("custom", **{**IMAGES, **options})


def test_a_layer_that_outlives_a_run_is_refused(here):
    first = build_model("custom", target="net_of_one.kept", **IMAGES)
    with pytest.raises(
        ValueError, match="returns a Linear that it has returned before, with the weights of an earlier"
    ):
        build_model("custom", target="net_of_one.kept", **{**IMAGES, "seed": 1})
    assert first.training
    acts = [build_model("custom", target="net_of_one.acting", **IMAGES)[1] for _ in range(2)]
    assert acts[0] is acts[1], "without weights it may"


def test_weights_of_two_precisions_are_tried_with_what_samples_are(here):
    assert build_model("custom", target="net_of_one.Mixed", **IMAGES).scale.dtype is torch.float64


def test_an_error_in_the_users_module_is_told_with_its_place(here):
    (here / "net_with_fault.py").write_text("import no_such_library\n")
    with pytest.raises(ValueError, match="net_with_fault of .* imports no_such_library, which is not here"):
        build_model("custom", target="net_with_fault.Net", **IMAGES)
    (here / "net_that_raises.py").write_text("raise OSError('disk')\n")
    with pytest.raises(ValueError, match="cannot be imported: OSError: disk"):
        build_model("custom", target="net_that_raises.Net", **IMAGES)
    (here / "net_script.py").write_text("import sys\nsys.exit(2)\n")
    with pytest.raises(ValueError, match="ends the program while it is imported, as a script does; put what it runs"):
        build_model("custom", target="net_script.Net", **IMAGES)


def test_a_saved_classifier_of_transformers_is_loaded_whatever_its_family(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(3)
    saved = BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=3, **sizes))
    saved.save_pretrained(tmp_path / "my bert")
    texts = {"input_shape": (6,), "seed": 0, "reads": "text", "hub": str(tmp_path / "my bert")}
    model = build_model("custom", n_classes=3, **texts)
    assert torch.equal(model.classifier.weight, saved.classifier.weight)
    assert not torch.equal(
        build_model("custom", n_classes=3, reset=True, **texts).classifier.weight, saved.classifier.weight
    )
    with pytest.raises(ValueError, match=re.escape("has 3 outputs and the data have 2 classes")):
        build_model("custom", n_classes=2, **texts)
    assert build_model("custom", n_classes=2, args={"num_labels": 2}, **texts).classifier.weight.shape == (2, 8)
    with pytest.raises(ValueError, match="loads classifiers of images or texts, and these rows are vectors"):
        build_model("custom", n_classes=2, **{**texts, "reads": "vector"})
