"""Read the imports of the four packages and draw them: ``python -m scripts.draw_house`` writes ``docs/house.svg``.

A room is a folder of a package, or a module that is in no folder. Every arrow of the picture is at least one import;
an arrow that follows from others is left out. A package imports only packages to its left.
"""

from __future__ import annotations

import ast
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"
PACKAGES = ("models", "kernels", "analysis", "pipeline")
"""From left to right: a package imports only packages to its left."""

_BOX, _HIGH, _GAP, _FLOOR, _MARGIN, _HEAD, _ABREAST = 142, 32, 12, 74, 18, 48, 5
_BENDS = range(-360, 361, 40)


@dataclass(frozen=True, order=True)
class Import:
    """One import of one of our modules by another.

    Attributes
    ----------
    source, target : str
        Dotted names; a package stands for its ``__init__``.
    path : str
        File, relative to the repository.
    line : int
        Where the import is.
    """

    source: str
    target: str
    path: str
    line: int

    def __str__(self) -> str:
        """Show file and line first, so that terminals can open them."""
        return f"{self.path}:{self.line}: {self.source} imports {self.target}"


@cache
def module_files() -> dict[str, Path]:
    """Every module of the four packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def read_imports() -> list[Import]:
    """List all imports among the modules, also those in functions and under ``TYPE_CHECKING``."""
    files = module_files()
    found = set()
    for source, path in files.items():
        package = source if path.name == "__init__.py" else source.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            for name in _names(node, package):
                target = _module_of(name, files)
                if target is not None and target != source:
                    found.add(Import(source, target, str(path.relative_to(ROOT)), node.lineno))
    return sorted(found)


def _names(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)


def _module_of(name: str, files: Mapping[str, Path]) -> str | None:
    """Longest beginning of a dotted name that is a module: the rest are names in it."""
    while name and name not in files:
        name = name.rpartition(".")[0]
    return name or None


def room_of(module: str) -> str:
    """Folder that a module is in, or the module itself where it is in no folder of its package."""
    return ".".join(module.split(".")[:2])


def room_arrows(imports: list[Import]) -> set[tuple[str, str]]:
    """Pairs of different rooms of which the first imports the second; the packages' own ``__init__`` count as none."""
    arrows = {(room_of(item.source), room_of(item.target)) for item in imports}
    return {(a, b) for a, b in arrows if a != b and "." in a and "." in b}


def circles(arrows: set[tuple[str, str]]) -> list[list[str]]:
    """Group names that reach each other along the arrows; empty where there is no circle."""
    reached = _reached(arrows)
    groups = {
        tuple(sorted({name} | {other for other in found if name in reached.get(other, ())}))
        for name, found in reached.items()
        if name in found
    }
    return [list(group) for group in sorted(groups)]


def _reached(arrows: set[tuple[str, str]]) -> dict[str, set[str]]:
    reached: dict[str, set[str]] = {}
    for source, target in arrows:
        reached.setdefault(source, set()).add(target)
    changed = True
    while changed:
        changed = False
        for found in reached.values():
            more = set().union(*(reached.get(name, set()) for name in found)) - found
            if more:
                found |= more
                changed = True
    return reached


def _floors(rooms: list[str], arrows: set[tuple[str, str]]) -> list[list[str]]:
    """Rooms by floor, the ground floor first: a room is one floor above the highest that it imports."""
    floor: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in floor:
            floor[room] = 0  # ends the search in a circle
            floor[room] = max((of(below) + 1 for above, below in arrows if above == room and below in rooms), default=0)
        return floor[room]

    for room in rooms:
        of(room)
    return [[room for room in rooms if floor[room] == height] for height in range(max(floor.values()) + 1)]


def _necessary(arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Arrows that no longer path replaces."""
    reached = _reached(arrows)
    return sorted(
        (a, b) for a, b in arrows if not any((a, c) in arrows and c != b and b in reached.get(c, ()) for _, c in arrows)
    )


def draw() -> str:
    """Draw the house as SVG text; equal imports give equal text."""
    found = {room_of(name) for name, path in module_files().items() if "." in name and path.name != "__init__.py"}
    arrows = room_arrows(read_imports())
    panels, left, tallest = [], _MARGIN, 0
    for package in PACKAGES:
        rooms = sorted(room for room in found if room.startswith(f"{package}."))
        inside = {(a, b) for a, b in arrows if a in rooms and b in rooms}
        if package == "models":  # modules only: one box says it
            rooms, inside = ["models.*"], set()
        floors = [part for floor in _floors(rooms, inside) for part in _rows(floor)]
        width = max(len(floor) for floor in floors) * (_BOX + _GAP) + _GAP
        panels.append((package, left, width, floors, _necessary(inside)))
        left += width + 3 * _GAP
        tallest = max(tallest, len(floors))
    height = _HEAD + tallest * _FLOOR + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left} {height}" font-family="sans-serif" role="img">',
        "<title>Which folder imports which, in models, kernels, analysis and pipeline</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>',
        f'<rect width="{left}" height="{height}" fill="#fff"/>',
    ]
    for index, panel in enumerate(panels):
        lines += _panel(*panel, height)
        if index:
            x = panel[1]
            lines.append(_arrow(x, _MARGIN + 22, x - 3 * _GAP, _MARGIN + 22))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _rows(floor: list[str]) -> list[list[str]]:
    """Split a wide floor into rows of boxes that fit side by side."""
    return [floor[start : start + _ABREAST] for start in range(0, len(floor), _ABREAST)]


def _panel(
    package: str,
    left: int,
    width: int,
    floors: list[list[str]],
    arrows: list[tuple[str, str]],
    height: int,
) -> list[str]:
    lines = [
        f'<rect x="{left}" y="{_MARGIN}" width="{width}" height="{height - 2 * _MARGIN}" rx="8" fill="#f3f6fa" '
        'stroke="#9ab"/>',
        f'<text x="{left + _GAP}" y="{_MARGIN + 27}" font-size="19" font-weight="bold" fill="#123">{package}/</text>',
    ]
    place: dict[str, tuple[float, int]] = {}
    boxes = []
    for level, floor in enumerate(floors):
        y = height - 2 * _MARGIN - (level + 1) * _FLOOR + _FLOOR // 2
        start = left + (width - len(floor) * (_BOX + _GAP) + _GAP) / 2
        for index, room in enumerate(floor):
            x = start + index * (_BOX + _GAP)
            place[room] = (x + _BOX / 2, y)
            boxes += _box(room.partition(".")[2], x, y, (ROOT / room.replace(".", "/")).is_dir())
    for above, below in arrows:
        (x1, y1), (x2, y2) = place[above], place[below]
        others = [spot for room, spot in place.items() if room not in (above, below)]
        lines.append(_arrow(x1, y1 + _HIGH, x2, y2 - 1, others))
    return lines + boxes


def _box(name: str, x: float, y: int, folder: bool) -> list[str]:
    title = f"{name}/" if folder else ("its modules" if name == "*" else f"{name}.py")
    return [
        f'<rect x="{x:g}" y="{y}" width="{_BOX}" height="{_HIGH}" rx="5" fill="{"#fff" if folder else "#e8edf3"}" '
        'stroke="#678"/>',
        f'<text x="{x + _BOX / 2:g}" y="{y + _HIGH / 2 + 5:g}" font-size="13" text-anchor="middle" '
        f'fill="#123">{html.escape(title)}</text>',
    ]


def _arrow(x1: float, y1: float, x2: float, y2: float, others: Sequence[tuple[float, int]] = ()) -> str:
    """Draw an arrow, bent to the side on which it passes behind the fewest boxes."""
    middle, height = (x1 + x2) / 2, (y1 + y2) / 2
    bend = min(_BENDS, key=lambda by: (_hidden(x1, y1, middle + by, height, x2, y2, others), abs(by), by))
    return (
        f'<path d="M{x1:g} {y1:g}Q{middle + bend:g} {height:g} {x2:g} {y2:g}" fill="none" stroke="#456" opacity="0.75" '
        'marker-end="url(#tip)"/>'
    )


def _hidden(x1: float, y1: float, x: float, y: float, x2: float, y2: float, others: Sequence[tuple[float, int]]) -> int:
    """Count the points of a quadratic curve, of 60, that are behind boxes or close to them."""
    count = 0
    for step in range(1, 60):
        t = step / 60
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t**2
        left, top = a * x1 + b * x + c * x2, a * y1 + b * y + c * y2
        count += any(abs(left - at) < _BOX / 2 + 4 and -4 < top - start < _HIGH + 4 for at, start in others)
    return count


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
