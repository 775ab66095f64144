"""Every figure of ours is drawn in the style of all: what draws it is decorated."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def undecorated() -> list[str]:
    found = []
    for path in [*ROOT.glob("analysis/**/*.py"), *ROOT.glob("pipeline/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name != "new_figure":
                names = {getattr(call.func, "id", "") for call in ast.walk(node) if isinstance(call, ast.Call)}
                given = [getattr(one, "id", "") for one in node.decorator_list]
                if "new_figure" in names and "in_style" not in given and f"in_style(self.{node.name})" not in text:
                    found.append(f"{path.relative_to(ROOT)}: {node.name}")
    return found


def test_whatever_draws_a_figure_draws_it_in_our_style():
    assert not undecorated(), "decorate it with analysis.style.in_style"
