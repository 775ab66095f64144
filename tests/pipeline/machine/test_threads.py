"""No stage's bytes follow OMP_NUM_THREADS or the number of cores: its address says how many threads compute it."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from models.two_layer import activation_moments
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.machine.threads import VARIABLES, bound_threads
from tests.pipeline import toy_stages
from tests.pipeline.test_store import pull, run_config

LATE = """
from pipeline.machine.threads import bound_threads
with bound_threads(1):
    import numpy, scipy.linalg
from threadpoolctl import threadpool_info
print({pool["num_threads"] for pool in threadpool_info()})
"""


@pytest.fixture
def two_threads():
    """A process that computes with two threads, as under OMP_NUM_THREADS=2."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(threads)


def pools() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()} | {torch.get_num_threads()}


def test_every_pool_is_bound_and_put_back(two_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with pytest.raises(ZeroDivisionError), bound_threads(1):
        assert pools() == {1} and {os.environ[name] for name in VARIABLES} == {"1"}
        raise ZeroDivisionError
    assert pools() == {2} and os.environ["OMP_NUM_THREADS"] == "2" and "MKL_NUM_THREADS" not in os.environ


def test_a_library_that_is_loaded_later_is_bound_too():
    environment = {**os.environ, **dict.fromkeys(VARIABLES, "2")}
    done = subprocess.run([sys.executable, "-c", LATE], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "{1}", done.stderr


def test_a_stage_computes_with_the_threads_of_its_address_and_else_with_one():
    overrides = ("experiment=quickstart", "numerics.threads=2", "cells.seed='0:1'")
    graph, config = Graph(overrides), compose_run(overrides)
    expected = {"prepare": 1, "train": 2, "snapshots": 2, "kernel": 2, "surrogate": 2, "spectra": 2, "toy": 2}
    expected |= {"attribution": 2, "probes": 2, "shift": 2, "statistics": 1, "report": 1}
    assert {name: graph.resolve(name, config).threads for name in expected} == expected


def test_the_environment_changes_no_singular_value():
    matrix = np.random.default_rng(0).standard_normal((400, 300))
    found = []
    for outside in (1, 2):
        with threadpool_limits(outside), bound_threads(1):
            found.append((np.linalg.svd(matrix, compute_uv=False).tobytes(), (matrix @ matrix.T).tobytes()))
    assert found[0] == found[1]


def test_the_executor_binds_a_stage(tmp_path, monkeypatch, two_threads):
    toy_stages.install(monkeypatch)
    seen = []
    monkeypatch.setattr(toy_stages, "draw", lambda build: seen.append(pools()) or {})
    pull(tmp_path, "draw", run_config())
    assert seen == [{1}] and pools() == {2}


def test_what_ran_before_does_not_change_an_activation_that_is_kept(two_threads):
    activation_moments.cache_clear()
    first = activation_moments("softplus")
    torch.set_num_threads(1)
    activation_moments.cache_clear()
    assert activation_moments("softplus") == first
    torch.set_num_threads(2)
