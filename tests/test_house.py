"""The house: imports go one way, no folder or module imports in a circle, folders and files stay small, names say what.

``python -m scripts.draw_house`` draws the picture in docs/architecture.md from the same imports.
"""

import ast
import importlib
import re
from collections import Counter

import pytest

from scripts.draw_house import PACKAGES, PICTURE, ROOT, circles, draw, module_files, read_imports, room_arrows, room_of

FLOORS = (
    ("shown_text",),
    ("config", "errors"),
    ("machine",),
    ("tracking",),
    ("engine",),
    ("results",),
    ("browse",),
    ("data", "checks", "reporting", "upkeep"),
    ("training",),
    ("stages",),
    ("ending", "entry", "help", "hydra_callbacks", "output_folder", "study"),
)
"""Rooms of pipeline/: a room imports from earlier rows and from itself."""
MOST_MODULES, MOST_LINES = 20, 350
FILES = module_files()


@pytest.fixture(scope="module")
def imports():
    return read_imports()


def broken(rule: str, found) -> None:
    assert not found, "\n  ".join([rule, *map(str, found)])


def test_packages_import_from_left_to_right(imports):
    place = {package: index for index, package in enumerate(PACKAGES)}
    back = [item for item in imports if place[item.source.split(".")[0]] < place[item.target.split(".")[0]]]
    broken(f"one way only, {' -> '.join(PACKAGES)}:", back)


def test_rooms_of_the_pipeline_import_one_way(imports):
    floor = {room: index for index, rooms in enumerate(FLOORS) for room in rooms}
    inside = [item for item in imports if item.source.startswith("pipeline.") and item.target.startswith("pipeline.")]
    rooms = {room_of(name).split(".")[1] for name in FILES if name.startswith("pipeline.")}
    broken("a new room of pipeline/ needs a place in FLOORS, one that is gone has none:", rooms ^ set(floor))

    def allowed(item) -> bool:
        source, target = (room_of(name).split(".")[1] for name in (item.source, item.target))
        return source == target or floor[target] < floor[source]

    broken("the order of pipeline/ is that of FLOORS:", [item for item in inside if not allowed(item)])


def test_the_engine_knows_no_stage(imports):
    found = [
        item
        for item in imports
        if item.source.startswith("pipeline.engine") and item.target.startswith(("pipeline.stages", "pipeline.data"))
    ]
    broken("the stage table names functions in strings, so that the engine imports none:", found)


def stage_of(module: str) -> str | None:
    return ".".join(module.split(".")[:3]) if module.startswith("pipeline.stages.") else None


@pytest.mark.parametrize("unit", [str, room_of, stage_of], ids=["modules", "rooms", "stages"])
def test_there_are_no_circles(imports, unit):
    ends = {item: (unit(item.source), unit(item.target)) for item in imports}
    if unit is room_of:
        arrows = room_arrows(imports)
    else:
        arrows = {(a, b) for a, b in ends.values() if a and b and a != b}
    for group in circles(arrows):
        around = [item for item, (a, b) in ends.items() if a != b and {a, b} <= set(group)]
        broken(f"a circle of {', '.join(group)}:", around)


def test_no_folder_is_crowded():
    sizes = Counter(path.parent.relative_to(ROOT) for path in FILES.values() if path.name != "__init__.py")
    broken(f"more than {MOST_MODULES} modules in a folder:", [row for row in sizes.items() if row[1] > MOST_MODULES])


def test_no_file_is_long():
    lines = {name: len(path.read_text().splitlines()) for name, path in FILES.items()}
    broken(f"more than {MOST_LINES} lines in a file:", [row for row in lines.items() if row[1] > MOST_LINES])


def test_every_folder_says_in_one_sentence_what_is_in_it():
    silent = []
    for name, path in FILES.items():
        if path.name != "__init__.py" or "." not in name:
            continue
        said = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")[0]
        if not re.fullmatch(r"[^.?!]+(\.\w[^.?!]*)*\.", said):
            silent.append(f"{path.relative_to(ROOT)}: {said!r}")
    broken("the docstring of a folder's __init__ begins with one sentence and a blank line:", silent)


def test_no_exported_name_hides_a_module():
    hidden = []
    for folder, path in FILES.items():
        if path.name == "__init__.py":
            exported = set(getattr(importlib.import_module(folder), "__all__", []))
            hidden += [f"{folder}.{name}" for name in sorted(exported) if f"{folder}.{name}" in FILES]
    broken("an exported name that is also a module's hides the module; rename one of them:", hidden)


def test_names_say_what_a_module_computes():
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
    broken("names that say nothing:", [name for name in FILES if set(re.split(r"[._]", name)) & vague])


def test_tensor_files_are_written_in_one_place(imports):
    private = [
        name
        for name, path in FILES.items()
        if name != "kernels.machine.tensor_files" and re.search(r"\bsave_file\b", path.read_text(encoding="utf-8"))
    ]
    broken("safetensors writes files that only their owner may read; use kernels.machine.tensor_files:", private)


def test_text_files_are_utf8_whatever_the_locale():
    silent = []
    for name, path in FILES.items():
        for call in (
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ):
            said = {keyword.arg: keyword.value for keyword in call.keywords}
            words = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
            function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            owner = getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else ""
            text = function in ("read_text", "write_text") or {"text", "universal_newlines"} & set(said)
            if function in ("open", "fdopen") and owner not in ("os", "Image", "tarfile", "zipfile"):
                modes = [word for word in words if re.fullmatch("[rwaxbt+]+", word)]
                text = bool(modes) and "b" not in modes[0] or not (call.args or said)
            if text and "encoding" not in said:
                silent.append(f"{name}, line {call.lineno}")
    broken("a text file without encoding= follows the locale:", silent)


def test_the_picture_is_of_todays_imports():
    assert PICTURE.read_text(encoding="utf-8") == draw(), "stale picture: run `python -m scripts.draw_house`"
