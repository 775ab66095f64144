"""A table or figure with intervals says in its caption over what they are taken."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "pipeline" / "stages").glob("*/*.py"))
UNIT = re.compile(
    r"\bover (?:the |all )?(?:\w+ )?(?:seeds|runs|draws|points|rows|examples|redraws)|of random subsets"
    r"|OVER_SEEDS|INTERVALS"
)


def words(node: ast.AST) -> str:
    """All text below a node, and the names that stand for text."""
    found = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return " ".join([*found, *(part.id for part in ast.walk(node) if isinstance(part, ast.Name))])


def caption_of(call: ast.Call, path: Path) -> str:
    """Text of a caption; of one that has a name, what is assigned to that name above the call."""
    node = call.args[2 if call.func.id == "Table" else 1]
    if isinstance(node, ast.Name):
        named = [
            one.value
            for one in ast.walk(ast.parse(path.read_text()))
            if isinstance(one, ast.Assign) and one.lineno < call.lineno and ast.unparse(one.targets[0]) == node.id
        ]
        node = max(named, key=lambda value: value.lineno)
    return words(node)


def calls(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Table", "Picture"):
            yield node


@pytest.mark.parametrize("path", [path for path in PAGES if list(calls(path))], ids=lambda path: path.parent.name)
def test_captions_of_intervals_name_their_unit(path):
    without = []
    for node in calls(path):
        caption = caption_of(node, path)
        shown = words(node) if node.func.id == "Table" else caption
        if ("95 %" in shown or "interval" in shown) and not UNIT.search(caption):
            without.append(f"line {node.lineno}: {caption[:120]}")
    assert not without
