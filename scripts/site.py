"""What the documentation site needs beyond Sphinx: notebooks as pages, and links that leave ``docs/``.

Pages are written so that they can be read in the repository, where a link leads to a file. On the site the same link
leads to the page that shows that file, or to the part of it that a page includes.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from myst_parser.sphinx_ import Parser
from sphinx import addnodes

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("models", "kernels", "analysis", "pipeline")

SHOWN = {
    "README.md": "index.md",
    "README.md#kernels-by-themselves": "kernels_alone.md",
    "README.md#analysis-by-itself": "analysis_alone.md",
    "README.md#in-a-notebook": "analysis_alone.md",
    "README.md#the-eight-studies": "index.md#the-eight-studies",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "CHANGELOG.md": "changes.md",
}
"""Files outside ``docs/``, and sections of them, with the page that shows them."""

LINK = re.compile(r"(?<=\]\()([^)\s:]+?\.md)(#[\w-]+)?(?=\))")


def lead_to_pages(text: str, folder: str) -> str:
    """Rewrite the links of a text that lead out of ``docs/``, and those of a file that lies outside.

    Parameters
    ----------
    text : str
        Markdown.
    folder : str
        Folder of the text, from the root of the repository, such as ``docs/studies`` or the empty string.

    Examples
    --------
    >>> lead_to_pages("[kernels](../README.md#kernels-by-themselves)", "docs")
    '[kernels](/kernels_alone.md)'
    >>> lead_to_pages("[words](docs/glossary.md), [times](RESULTS.md#kernels)", "benchmarks/..")
    '[words](/glossary.md), [times](RESULTS.md#kernels)'
    """

    def lead(match: re.Match[str]) -> str:
        path, anchor = posixpath.normpath(posixpath.join(folder, match[1])), match[2] or ""
        if path.startswith("docs/"):
            return f"/{path.removeprefix('docs/')}{anchor}" if not folder.startswith("docs") else match[0]
        if page := SHOWN.get(path + anchor):
            return f"/{page}"
        if page := SHOWN.get(path):
            return f"/{page}{anchor}"
        return match[0]

    return LINK.sub(lead, text)


def read_source(app: Any, name: str, content: list[str]) -> None:
    """Rewrite the links of a page before it is parsed (Sphinx's event ``source-read``)."""
    content[0] = lead_to_pages(content[0], posixpath.dirname(f"docs/{name}"))


def read_included(app: Any, path: Path, name: str, content: list[str]) -> None:
    """Rewrite the links and pictures of an included file (Sphinx's event ``include-read``)."""
    here = posixpath.dirname(f"docs/{name}")
    folder = posixpath.dirname(posixpath.normpath(posixpath.join(here, Path(path).as_posix())))

    def place(match: re.Match[str]) -> str:
        return posixpath.relpath(posixpath.join(folder, match[0]), here)

    content[0] = re.sub(r"(?<=\]\()[\w/.-]+\.(?:png|svg|ipynb)(?=\))", place, lead_to_pages(content[0], folder))


def find_elsewhere(app: Any, environment: Any, node: Any, shown: nodes.Node) -> nodes.Node | None:
    """Lead a name that a docstring gives with its module to where it is documented, under its package.

    A name that is no part of the reference stays text; that it exists is a test of its own.
    """
    target = node.get("reftarget", "")
    package, _, name = target.partition(".")
    if node.get("refdomain") != "py" or package not in PACKAGES:
        return None
    domain = environment.domains.python_domain
    last = name.rpartition(".")[2]
    for place in (f"{package}.{last}", f"{'.'.join(target.split('.')[:2])}.{last}"):
        if place in domain.objects:
            return domain.resolve_xref(environment, node["refdoc"], app.builder, "obj", place, node, shown)
    return shown if module_exists(target) else None


def module_exists(target: str) -> bool:
    """Whether a dotted name begins with a module of ours.

    Examples
    --------
    >>> module_exists("kernels.gram.kernel_matrix"), module_exists("kernels.nowhere")
    (True, False)
    """
    parts = target.split(".")
    places = [ROOT.joinpath(*parts[:stop]) for stop in range(2, len(parts) + 1)]
    return any(place.with_suffix(".py").exists() for place in places) or (places[-1] / "__init__.py").exists()


def skip_inherited(app: Any, kind: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn adds to every estimator; its docstrings refer to pages of its own."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def notebook_as_markdown(text: str) -> str:
    """Write a notebook as a page: its texts, code, printed lines and pictures.

    Examples
    --------
    >>> cell = {"cell_type": "code", "source": ["1 + 1"], "outputs": [{"data": {"text/plain": ["2"]}}]}
    >>> print(notebook_as_markdown(json.dumps({"cells": [cell]})))
    ```python
    1 + 1
    ```
    <BLANKLINE>
    ```text
    2
    ```
    """
    parts = []
    about = "what the lines above draw"
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            about = _plain(source.rpartition("\n\n")[2])
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                picture = "".join(data["image/png"]).replace("\n", "")
                parts.append(f"![Figure: {about}](data:image/png;base64,{picture})")
            elif shown := "".join(output.get("text", data.get("text/plain", ()))).rstrip():
                parts.append(f"```text\n{shown}\n```")
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    """Take the marks of Markdown out of a paragraph, for the words that stand in a picture's place."""
    return " ".join(re.sub(r"[\[\]`*#]|\]\([^)]*\)", "", text).split())


class NotebookParser(Parser):
    """Reads the project's notebooks as pages, with the pictures stored in them; runs nothing."""

    supported = ("ipynb",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse a notebook's markdown."""
        super().parse(notebook_as_markdown(inputstring), document)


def keep_words(app: Any, document: nodes.document) -> None:
    """Leave the words of types words: "shape" is no link to whatever has a property of that name."""
    for node in list(document.findall(addnodes.pending_xref)):
        target = node.get("reftarget", "")
        if node.get("reftype") == "class" and target.islower() and "." not in target:
            node.replace_self(node.children)


LONG, SHORT, NUMBER, NAME = 60, 20, 12, 24
"""Letters of a cell of sentences; letters up to which a column holds single words; letters of a number; of a name."""


def mark_tables(app: Any, document: nodes.document) -> None:
    """Tell tables of sentences from tables of numbers, which a narrow screen shows in other ways.

    In a table of sentences some column holds them and none but the first short words; its rows may be stacked. Numbers
    and names stay on one line.
    """
    for table in document.findall(nodes.table):
        rows = [
            list(row.findall(nodes.entry)) for body in table.findall(nodes.tbody) for row in body.findall(nodes.row)
        ]
        columns = [[len(entry.astext()) for entry in column] for column in zip(*rows, strict=False)]
        if (
            len(columns) > 1
            and max(map(max, columns[1:])) > LONG
            and all(max(column) > SHORT for column in columns[1:])
        ):
            table["classes"].append("sentences")
        for entry in table.findall(nodes.entry):
            text = entry.astext()
            if len(text) <= NUMBER and re.match(r"[-+−±≤<]?\d", text):
                entry["classes"].append("number")
            elif len(text) <= NAME and re.fullmatch(r"\w+", text):
                entry["classes"].append("name")


def write_formula(translator: Any, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw by themselves; MathJax would be loaded from elsewhere."""
    block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=block)
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def keep_reports(app: Any, problem: Exception | None) -> None:
    """Put the kept reports of studies beside the pages (Sphinx's event ``build-finished``)."""
    if problem is None:
        shutil.copytree(ROOT / "docs" / "reports", Path(app.outdir) / "reports", dirs_exist_ok=True)


def setup(app: Any) -> dict[str, bool]:
    """Register all of this with Sphinx."""
    app.add_source_suffix(".ipynb", "ipynb")
    app.add_source_parser(NotebookParser)
    app.connect("source-read", read_source)
    app.connect("include-read", read_included)
    app.connect("doctree-read", keep_words)
    app.connect("doctree-read", mark_tables)
    app.connect("missing-reference", find_elsewhere)
    app.connect("autodoc-skip-member", skip_inherited)
    app.connect("build-finished", keep_reports)
    app.add_html_math_renderer("mathml", inline_renderers=(write_formula, None), block_renderers=(write_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
