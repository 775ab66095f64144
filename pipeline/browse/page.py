"""The page as one HTML file: contents as data, script and style inside, and a policy that lets it load nothing."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.plain_text import visible
from pipeline.browse.contents import PAGE_OF, Contents, as_json
from pipeline.errors import UserError

_HERE = Path(__file__).parent
_SCRIPTS = ("store.js", "views.js", "compare.js", "start.js")
_LISTED = 100
"""Reports that are listed for a browser without scripts."""


@cache
def _asset(*names: str) -> str:
    return "".join((_HERE / "assets" / name).read_text(encoding="utf-8") for name in names)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(live: bool) -> str:
    """Content security policy: nothing is loaded, and no script runs but the page's own.

    Parameters
    ----------
    live : bool
        Whether the page may ask the server that it comes from for newer contents.
    """
    parts = {
        "default-src": "'none'",
        "script-src": _digest(_script()),
        "style-src": _digest(_asset("browse.css")),
        "img-src": "data:",
        "connect-src": "'self'" if live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _script() -> str:
    return f'"use strict";\n(() => {{\n{_asset(*_SCRIPTS)}}})();\n'


def render(contents: Contents) -> str:
    """Write the page; what comes from data is JSON in elements that are no scripts, or escaped by the template."""
    main, rows = contents["main"], contents["main"]["rows"]
    reports = [(main["links"]["folders"][i], rows["slug"][i]) for i in main["links"]["reports"]]
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("browse.html").render(
        store=main["store"],
        policy=policy(main["live"]),
        style=Markup(_asset("browse.css")),
        script=Markup(_script()),
        reports=[(f"{folder}/{PAGE_OF}", visible(name)) for folder, name in reports[:_LISTED]],
        data=[(name, Markup(as_json(contents[name]))) for name in ("main", "details", "curves")],
    )


def write(path: Path, text: str) -> None:
    """Put the page in place in one step.

    Raises
    ------
    UserError
        If it cannot be written there.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        reason = error.strerror or error
        words = f"The page cannot be written to {path} ({reason}): name another file, out=FILE.html."
        raise UserError(words) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
