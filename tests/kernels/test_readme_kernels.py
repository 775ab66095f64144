"""What the README says of the kernels is run as it stands there."""

import re
from pathlib import Path

import pytest
import torch

import kernels
from kernels import kernel_matrix
from tests.kernels.cases import BY_NAME, make

SECTION = re.search(r"## Kernels by themselves\n(.*?)\n## ", Path("README.md").read_text(), re.S).group(1)
ROWS = re.findall(r"^\| (.*?) \| (.*) \|$", SECTION, re.M)[1:]


@pytest.fixture
def names(tmp_path, monkeypatch) -> dict:
    """Everything that the examples call by name."""
    monkeypatch.chdir(tmp_path)
    model, x, y = make(BY_NAME["mlp"], n=6)
    model, x = model.float(), x.float()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=4)
    K = kernel_matrix(model, x, kind="pntk")
    known = {"model": model, "x": x, "y": y, "loader": loader, "K": K, "K0": K + torch.eye(6), "torch": torch}
    return known | {name: getattr(kernels, name) for name in kernels.__all__}


def test_the_example_runs(names, monkeypatch) -> None:
    code = re.search(r"```python\n(.*?)```", SECTION, re.S).group(1)
    images = torch.randn(6, 3, 32, 32)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=4), torch.nn.ReLU(), torch.nn.Flatten())
    model.append(torch.nn.Linear(8 * 8 * 8, 10))
    scope = {"model": model.eval(), "images": images, "test_images": images[:2]}
    exec(code, scope)
    assert scope["gram"].matrix.shape == (6, 6) and scope["features"].values.shape == (6, 1024)
    assert set(scope["parts"]) == {"0", "3"} and scope["parts"]["0"].shape == (2, 6)


@pytest.mark.parametrize(("theirs", "here"), ROWS[1:], ids=[row[0][:30] for row in ROWS[1:]])
def test_every_counterpart_of_torchntk_runs(names, theirs: str, here: str) -> None:
    expressions = re.findall(r"`([^`]+)`", here)
    assert expressions, f"nothing stands for {theirs}"
    for expression in reversed(expressions):  # a definition follows what uses it
        if " = " in expression.split("(")[0]:
            exec(expression, names)
        else:
            assert eval(expression, names) is not None
