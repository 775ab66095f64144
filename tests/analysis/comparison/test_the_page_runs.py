"""The examples of docs/compare.md and of the README run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

import analysis
from tests.analysis.comparison.cases import kernel, layers, runs

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = {
    name: re.findall(r"```python\n(.*?)```", text, flags=re.S)
    for name, text in (
        ("README.md", README),
        ("compare.md", (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")),
    )
}
CASES = [(page, i) for page, found in BLOCKS.items() for i, code in enumerate(found) if "from analysis import" in code]


@pytest.mark.parametrize(
    ("page", "place"),
    [pytest.param(*case, marks=[] if case[0] == "README.md" else pytest.mark.slow) for case in CASES],
)
def test_an_example_of_the_page_runs(page, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    outputs, labels = runs(count=3, examples=60)
    features = list(layers(count=2).values())
    train, test, (train_labels, test_labels), network = kernel()
    known = {f"logits{i}": run for i, run in enumerate(outputs.values())} | {"labels": labels}
    known |= {f"f{i}": run["first"] for i, run in enumerate(features)}
    known |= {f"g{i}": run["second"] for i, run in enumerate(features)}
    known |= {"kernel_train": train, "kernel_test": test, "network_logits": network}
    known |= {"train_labels": train_labels, "test_labels": test_labels, "np": np}
    exec(BLOCKS[page][place], known)


def test_the_pages_have_examples():
    assert {page for page, _ in CASES} == set(BLOCKS) and len(CASES) >= 4


def test_the_readme_lists_every_name_that_analysis_exports():
    listed = re.findall(r"^\| `(\w+)` \|", README.partition("## Analysis by itself")[2].partition("\n## ")[0], re.M)
    assert sorted(listed) == analysis.__all__
