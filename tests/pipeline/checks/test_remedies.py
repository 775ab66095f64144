"""What a refusal advises works as printed: with the advised settings added, the same command is accepted."""

import ast
import re
from pathlib import Path

import pytest

from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.engine.composition.setting_names import setting_names
from pipeline.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ("data=tweets", "model=minilm", "data.text.tokenizer=minilm")
REMEDIES = [
    (("numerics.batchnorm=sync",), "numerics.batchnorm=per_rank"),
    (("data=teacher",), "training.loss=regression"),
    (("model=resnet18", "model.width=4", "numerics.memory_format=channels_last"), "numerics.memory_format=contiguous"),
    (("model=resnet18", "model.width=4", "numerics.memory_format=channels_last"), "model.width=8"),
    (("stage=ensemble",), "numerics.engine=ensemble"),
    (("numerics.engine=ensemble", "weights.step=3"), "numerics.engine=lightning"),
    (("numerics.engine=ensemble", "training.attack.radius=0.1"), "numerics.engine=lightning"),
    ((*TEXTS, "training.attack.radius=0.1"), "training.attack.radius=0"),
    (("weights.source=pretrained",), "weights.source=init"),
    (("weights.source=init", "weights.step=3"), "weights.source=train"),
    (("model=gpt2_tiny", "data=tweets", "model.path=x"), "model.weights=path"),
    (("data.path.train=x.parquet", "data.path.format=parquet"), "data.source=path"),
    (("data.reference=a.txt",), "data.source=path"),
    (("data=tweets", "model=gpt2_tiny", "data.text.tokenizer_path=x"), "data.text.tokenizer=path"),
    (("data=tweets", "model=gpt2_tiny", "data.text.tokenizer_path=x"), "data.text.tokenizer_path=null"),
    (("data=tweets", "model=gpt2_tiny", "data.text.tokenizer_id=x"), "data.text.tokenizer=hub"),
    (("kernel.sketch=countsketch", "kernel.normalize=false"), "kernel.normalize=true"),
    (("kernel.sketch=countsketch", "kernel.layerwise=true"), "kernel.layerwise=false"),
    (("surrogate=svm", "surrogate.alpha=null"), "surrogate=glm"),
    (("attribution.method=tracin",), "attribution.checkpoints=[100,-1]"),
    (("attribution.method=tracin", "attribution.checkpoints=[1]", "weights.source=init"), "weights.source=train"),
    (("attribution.other_seeds=[1]", "weights.step=3"), "weights.step=null"),
    (("stage=retraining", "weights.step=3"), "weights.step=null"),
    (("stage=adversarial", "model.center_output=true"), "model.center_output=false"),
    (("stage=adversarial", "surrogate=knn"), "surrogate=glm"),
    (("probes.history=true",), "snapshots.record=[weights]"),
    (("shift.permutations=9",), "shift.permutations=19"),
    (("statistics.history=true", "snapshots.record=[logits]"), "snapshots.schedule=epochs"),
    (("regression.penalty_unit=trace", "regression.protocol=published"), "regression.protocol=corrected"),
    (("cells.seed=5",), "cells.seed=0:5"),
    (("cells.seed=5",), "cells.seed=[5]"),
    (("training.learning_rate=0.5",), "training.lr"),
    (("model=resnet81",), "model=resnet18"),
    (("cells.x=[[training.lr=1],[seed=2]]",), 'cells.x=[["training.lr=1"],["seed=2"]]'),
    (("snapshots.steps=[3]",), "snapshots.schedule=steps"),
    (("kernel.memory=lots",), "kernel.memory=2GiB"),
    (("seed=0,1",), "seed=[0,1]"),
]


# composing twice for each takes half a minute together: the default tests take every fifth
ROWS = [
    pytest.param(*row, marks=() if index % 5 == 0 else pytest.mark.slow, id=f"{' '.join(row[0])} -> {row[1]}")
    for index, row in enumerate(REMEDIES)
]


@pytest.mark.parametrize(("wrong", "remedy"), ROWS)
def test_the_advised_setting_is_accepted(wrong, remedy):
    with pytest.raises(UserError) as caught:
        check(compose_run(wrong))
    assert remedy in str(caught.value)
    if "=" not in remedy:  # a name in place of the wrong one
        repaired = (f"{remedy}={wrong[-1].partition('=')[2]}",)
    elif remedy.startswith("seed=["):
        return  # a list, for settings that take one
    else:
        name = remedy.partition("=")[0]
        repaired = (*(word for word in wrong if word.partition("=")[0] != name), remedy)
    check(compose_run(repaired))


def literals(path: Path) -> list[str]:
    """Texts of a module except its docstrings, split where a value is filled in."""
    tree = ast.parse(path.read_text())
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, owners) and ast.get_docstring(node)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
    return [node.value for node in nodes if isinstance(node.value, str)]


def test_every_setting_that_a_message_names_exists():
    free = ("cells.", "data.path.extra.", "data.path.sha256.", "data.hub.splits.", "model.architecture.")
    free += ("data.poison.options.", "data.synthetic.options.", "report.options.")
    sections = {name.partition(".")[0] for name in setting_names()}
    odd = set()
    for folder in ("pipeline", "models", "kernels", "analysis"):
        for path in (ROOT / folder).rglob("*.py"):
            for text in literals(path):
                for name in re.findall(r"(?<![\w./:{-])([a-z_]+(?:\.[a-z_0-9]+)+)(?==)", text):
                    if name.partition(".")[0] in sections and not name.startswith(free) and name not in setting_names():
                        odd.add((path.name, name))
    assert not odd
