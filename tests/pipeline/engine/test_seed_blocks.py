"""A block of seeds trains whole; who wants few of its seeds is told so before it starts."""

import pytest

from pipeline.config.run import RunConfig
from pipeline.config.training import EnsembleConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.plan import announce, plan
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.seed_blocks import block_of, unwanted_members


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([0, 1, 2, 3, 4], "of which 5 are wanted here; ensemble.block=5 trains no others"),
        ([3, 4], "of which 2 are wanted here; ensemble.block=3 trains 1 other"),
        ([0, 19], "seeds 0 to 19 train together, of which 2 are wanted here"),
        (list(range(20)), None),
    ],
)
def test_seeds_that_nobody_wants_are_counted(wanted, said):
    line = unwanted_members(block_of(RunConfig()), wanted)
    assert line is None if said is None else line.endswith(said)


def test_a_run_that_shares_no_block_trains_no_others():
    assert unwanted_members(block_of(RunConfig(ensemble=EnsembleConfig(varying=[]))), [0]) is None


@pytest.mark.parametrize(("block", "lines"), [(20, 1), (2, 0)])
def test_the_plan_says_so(block, lines, tmp_path, capfd):
    words = (
        "data=parabola",
        "numerics.engine=ensemble",
        f"ensemble.block={block}",
        "+cells.seed='0:2'",
        "wants=[train]",
    )
    config = compose_run(words)
    store = Store(tmp_path)
    found = plan(Graph(words).resolve("report", config), store, lambda node: True)
    announce(found, store, Estimates(store))
    assert capfd.readouterr().err.count("seeds 0 to 19 train together, of which 2 are wanted here") == lines
