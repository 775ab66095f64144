"""Files of weights as others write them: read without running code, and loaded whole or not at all."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.errors import UserError
from pipeline.training.weight_files import load_outside_weights, read_weights


def net(width=4):
    """Two layers and a normalization, whose counter older files lack."""
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def prefixed(model, prefix):
    """Weights under longer names."""
    return {f"{prefix}{name}": value for name, value in model.state_dict().items()}


WRITERS = {
    "state_dict": lambda model, path: torch.save(model.state_dict(), path),
    "data parallel": lambda model, path: torch.save(
        {"state_dict": prefixed(model, "module."), "best_prec1": 9.0}, path
    ),
    "lightning": lambda model, path: torch.save(
        {"epoch": 3, "pytorch-lightning_version": "2.6.6", "state_dict": prefixed(model, "model.")}, path
    ),
    "compiled in lightning": lambda model, path: torch.save(
        {"state_dict": prefixed(model, "model._orig_mod."), "loops": {}}, path
    ),
    "as PyTorch's tutorial": lambda model, path: torch.save(
        {"epoch": 3, "model_state_dict": model.state_dict(), "loss": torch.tensor(0.1)}, path
    ),
    "in two": lambda model, path: torch.save({"model": {"state_dict": model.state_dict()}}, path),
    "averaged": lambda model, path: torch.save(torch.optim.swa_utils.AveragedModel(model).state_dict(), path),
    "nested": lambda model, path: torch.save({"model_state_dict": model.state_dict(), "optimizer": {"lr": 1}}, path),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_weights_load_from_each_layout(tmp_path, layout):
    torch.manual_seed(1)
    model, fresh = net(), net()
    WRITERS[layout](model, tmp_path / "my net.pt")
    fit = load_outside_weights(fresh, read_weights(tmp_path / "my net.pt"), [], "f", "model=custom")
    assert not fit.missing + fit.unexpected and torch.equal(fresh[0].weight, model[0].weight)


def test_safetensors_and_folders_of_transformers_load_split_or_whole(tmp_path):
    state = net().state_dict()
    (tmp_path / "whole").mkdir()
    save_file(state, tmp_path / "whole" / "model.safetensors")
    (tmp_path / "split").mkdir()
    names = list(state)
    for part, some in (("a.safetensors", names[:2]), ("b.safetensors", names[2:])):
        save_file({name: state[name] for name in some}, tmp_path / "split" / part)
    index = {"weight_map": {name: "a.safetensors" if name in names[:2] else "b.safetensors" for name in names}}
    (tmp_path / "split" / "model.safetensors.index.json").write_text(json.dumps(index))
    for folder in ("whole", "split"):
        assert all(torch.equal(value, state[name]) for name, value in read_weights(tmp_path / folder).items())
    with pytest.raises(UserError, match="is a folder without model.safetensors or pytorch_model.bin"):
        read_weights(tmp_path)


def test_a_network_whose_own_names_begin_like_a_wrapper_keeps_them():
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net()

    first, second = Wrapped(), Wrapped()
    assert load_outside_weights(second, first.state_dict(), [], "f", "model=custom").stripped == ""
    assert load_outside_weights(second, prefixed(first, "module."), [], "f", "model=custom").stripped == "module."


def test_a_weight_that_is_tied_need_not_be_in_the_file_twice():
    def tied():
        model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        model[1].weight = model[0].weight
        return model

    state = tied().state_dict()
    del state["1.weight"]
    assert load_outside_weights(tied(), state, [], "f", "model=custom").missing == []


def test_what_does_not_fit_is_listed_and_loads_only_where_it_is_allowed():
    model = net()
    state = {"new.weight": torch.zeros(2), **net(5).state_dict()}
    del state["1.num_batches_tracked"], state["0.bias"]
    expected = (
        "runs/0.pt does not fit model=mynet.MyNet: it lacks 1 of its 9 tensors (0.bias) and holds 1 that it does not "
        "have (new.weight) and holds 6 of another shape (0.weight (5, 3), here (4, 3), 1.bias (5,), here (4,), "
    )
    with pytest.raises(UserError, match=re.escape(expected)) as refused:
        load_outside_weights(model, state, [], "runs/0.pt", "model=mynet.MyNet")
    assert str(refused.value).endswith("weights.allow=[missing,unexpected]: the rest stays random.")
    state = {name: value for name, value in net().state_dict().items() if not name.startswith("2.")}
    with pytest.raises(UserError, match=r"lacks 2 of its 9 tensors \(2.weight, 2.bias\).*weights.allow=\[missing\]"):
        load_outside_weights(model, state, ["unexpected"], "f", "model=custom")
    before = model[2].weight.clone()
    assert load_outside_weights(model, state, ["missing"], "f", "model=custom").missing == ["2.weight", "2.bias"]
    assert torch.equal(model[2].weight, before) and torch.equal(model[0].weight, state["0.weight"])
    with pytest.raises(UserError, match="holds none of its tensors"):
        load_outside_weights(model, {"x": torch.zeros(1)}, ["missing", "unexpected"], "f", "model=custom")


def test_an_entry_may_lie_in_another_or_be_what_names_begin_with(tmp_path):
    plain, average = net(), net()
    together = prefixed(plain, "model.") | prefixed(average, "ema_model.")
    torch.save({"state": {"net": {"weights": average.state_dict()}}, "state_dict": together}, tmp_path / "a.pt")
    for entry in ("state.net.weights", "ema_model"):
        found = read_weights(tmp_path / "a.pt", entry)
        assert torch.equal(found["0.weight"], average[0].weight) and len(found) == len(average.state_dict())
    with pytest.raises(UserError, match="has no entry weights.entry=ema; it has state, state_dict"):
        read_weights(tmp_path / "a.pt", "ema")


def test_precision_may_differ_but_whole_or_complex_numbers_are_no_weights():
    model = net()
    state = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    fresh = net()
    load_outside_weights(fresh, state, [], "f", "model=custom")
    assert torch.equal(fresh[0].weight, model[0].weight.bfloat16().float())
    for kind in (torch.int8, torch.complex64):
        state["0.weight"] = torch.ones(4, 3, dtype=kind)
        with pytest.raises(UserError, match="f holds 0.weight as .*; save dense weights of real numbers"):
            load_outside_weights(fresh, state, [], "f", "model=custom")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_archives_of_code_and_folders_with_parts_missing_say_what_helps(tmp_path):
    torch.jit.script(net()).save(str(tmp_path / "script.pt"))
    with pytest.raises(UserError, match="is a TorchScript archive, which holds code; write its weights to a file"):
        read_weights(tmp_path / "script.pt")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "part.safetensors"}}')
    with pytest.raises(UserError, match="lacks part.safetensors, which model.safetensors.index.json lists"):
        read_weights(tmp_path)
    index.write_text("{")
    with pytest.raises(UserError, match="is no list of the files of weights; save the model again"):
        read_weights(tmp_path)


class Opaque:
    """An object whose reading would run code."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Opaque(), "holds an object of .*Opaque, which only running its code could read. Save the weights alone"),
        (net(), "which only running its code could read. Save the weights alone.*torch.save"),
        ({"epoch": 3, "lr": 0.1}, "holds no tensors but epoch, lr; name the entry"),
        (torch.zeros(2), "holds one tensor and not the weights of a network"),
        ([1, 2], "holds list and not a state_dict"),
    ],
)
def test_files_that_are_no_weights_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path / "net.pt")


def test_an_entry_is_taken_by_its_name_and_damage_is_named(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "ema": {"a": torch.zeros(1)}}, tmp_path / "net.pt")
    assert read_weights(tmp_path / "net.pt")["a"] == 1 and read_weights(tmp_path / "net.pt", "ema")["a"] == 0
    with pytest.raises(UserError, match="has no entry weights.entry=emma; it has state_dict, ema"):
        read_weights(tmp_path / "net.pt", "emma")
    for name in ("net.pt", "net.safetensors"):
        (tmp_path / name).write_bytes(b"not at all")
        with pytest.raises(UserError, match="write it again"):
            read_weights(tmp_path / name)
