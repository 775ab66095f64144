"""Two processes share the tiles of a kernel and agree with one, bit for bit at equal tiles."""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from kernels import kernel_matrix
from kernels.machine.ranks import owners
from tests.kernels import ready_processes
from tests.kernels.cases import BY_NAME, make

OPTIONS = {"precision": "float64", "block_rows": 2, "layerwise": True}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model, inputs, _ = make(BY_NAME["mlp"], 7)
    square = kernel_matrix(model, inputs, **OPTIONS)
    cross = kernel_matrix(model, inputs, inputs[:5], **OPTIONS)
    stored = kernel_matrix(model, inputs, out=f"{folder}/two.safetensors", **OPTIONS)
    found = {"square": square.matrix, "cross": cross.matrix, "stored": stored.matrix, **square.parts}
    save_file({name: value.clone().contiguous() for name, value in found.items()}, f"{folder}/{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


def test_one_and_two_ranks_agree_bit_for_bit(tmp_path: Path) -> None:
    ready_processes.prepare()
    mp.start_processes(worker, (str(tmp_path),), nprocs=2, start_method=ready_processes.METHOD)
    model, inputs, _ = make(BY_NAME["mlp"], 7)
    square = kernel_matrix(model, inputs, **OPTIONS)
    cross = kernel_matrix(model, inputs, inputs[:5], **OPTIONS)
    kernel_matrix(model, inputs, out=tmp_path / "one.safetensors", **OPTIONS)
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert torch.equal(found["square"], square.matrix)
        assert torch.equal(found["stored"], square.matrix)
        assert torch.equal(found["cross"], cross.matrix)
        for name, part in square.parts.items():
            assert torch.equal(found[name], part)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def test_row_blocks_are_shared_evenly() -> None:
    for blocks in (1, 5, 40):
        for square in (True, False):
            ranks = owners(blocks, square, 4)
            load = [sum((blocks - b) if square else 1 for b in range(blocks) if ranks[b] == r) for r in range(4)]
            assert sum(load) == (blocks * (blocks + 1) // 2 if square else blocks)
            assert max(load) - min(load) <= (blocks if square else 1)
