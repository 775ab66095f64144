"""Tensor files are readable by whom the umask names, and nothing is written through a link."""

import os
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kernels.machine.tensor_files import TensorStream, save_arrays, save_tensors


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


def test_rows_written_in_any_order_make_the_bytes_of_a_file_written_at_once(tmp_path):
    tensors = {
        "test.b": torch.randn(5, 3),
        "test.a\u00fc": torch.randn(5, 2, 2),
        'train."q"': torch.randn(4, 1, dtype=torch.float64),
        "ids": torch.arange(5),
        "empty": torch.zeros(0, 7),
    }
    save_tensors(tensors, tmp_path / "once")
    (tmp_path / "parts").write_text("an earlier file")
    shapes = {name: (str(one.dtype).removeprefix("torch."), tuple(one.shape)) for name, one in tensors.items()}
    with TensorStream(tmp_path / "parts", shapes) as stream:
        for name, values in tensors.items():
            for rows in (slice(3, len(values)), slice(0, 3)) if len(values) else ():
                stream.write(name, rows, values[rows])
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "once").read_bytes()
    assert stream.size == (tmp_path / "once").stat().st_size


def test_rows_of_another_shape_and_rows_that_are_left_out_are_refused(tmp_path):
    shapes = {"a": ("float32", (4, 2))}
    with pytest.raises(ValueError, match=r"rows 0 to 2 of a, float32 \[4, 2\], cannot be torch.float32 \[2, 3\]"):
        with TensorStream(tmp_path / "a", shapes) as stream:
            stream.write("a", slice(0, 2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="a lacks rows of a"), TensorStream(tmp_path / "a", shapes) as stream:
        stream.write("a", slice(0, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="inside its with block"):
        TensorStream(tmp_path / "a", shapes).write("a", slice(0, 2), torch.zeros(2, 2))
