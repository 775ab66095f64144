"""Tensor files are readable by whom the umask names, and nothing is written through a link."""

import os
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kernels.machine.tensor_files import save_arrays, save_tensors


@pytest.fixture(params=[0o002, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("kind", ["tensors", "arrays"])
def test_the_umask_decides_who_may_read(tmp_path, umask, kind):
    path = tmp_path / "a.safetensors"
    for _ in range(2):  # also in the place of an earlier file
        if kind == "tensors":
            save_tensors({"a": torch.arange(3.0)}, path, {"note": "x"})
        else:
            save_arrays({"a": np.arange(3.0, dtype=np.float32)}, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert load_file(path)["a"].tolist() == [0.0, 1.0, 2.0]


def test_a_link_in_the_way_is_replaced_and_its_goal_left(tmp_path):
    other = tmp_path / "thesis.tex"
    other.write_text("years of work")
    path = tmp_path / "a.safetensors"
    path.symlink_to(other)
    save_tensors({"a": torch.zeros(1)}, path)
    assert other.read_text() == "years of work" and not path.is_symlink()
