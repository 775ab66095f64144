"""Maintain ``key_defaults.json``: ``python -m pipeline.engine.freeze`` after adding a field or raising a VERSION.

The same command brings the lists of stages and trackers in the comments of ``conf/config.yaml`` up to date.

A new field is entered as *added*, so existing artifacts keep their addresses. A changed default of a known
field is refused: raise the stage's VERSION instead, because stored results were made under the old value.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.engine.cells import CONF
from pipeline.engine.keys import TABLE, schema_defaults
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError


def updated_table(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the table with new stages, new versions and added fields entered.

    Raises
    ------
    UserError
        If a known field's default changed without a new VERSION.
    """
    result: dict[str, dict[str, Any]] = {}
    for name, stage in sorted(STAGES.items()):
        defaults = schema_defaults(RunConfig(), stage.sections)
        known = table.get(name)
        if known is None or known["version"] != stage.version:
            result[name] = {"version": stage.version, "frozen": defaults, "added": {}}
            continue
        changed = [
            path
            for path, value in {**known["frozen"], **known["added"]}.items()
            if path in defaults and defaults[path] != value
        ]
        if changed:
            raise UserError(
                f"The default of {', '.join(changed)} changed but stage {name!r} is still VERSION {stage.version}; "
                "raise its version in pipeline/engine/stages.py."
            )
        new = {path: value for path, value in defaults.items() if path not in known["frozen"]}
        result[name] = {
            "version": stage.version,
            "frozen": known["frozen"],
            "added": {**known["added"], **new},
        }
    return result


def first_page(text: str) -> str:
    """Return the text of ``conf/config.yaml`` with the current stages and trackers in its comments."""
    indent = " " * 31 + "# "
    stages = textwrap.fill(" ".join(STAGES), 120, initial_indent=indent, subsequent_indent=indent)
    trackers = " | ".join(sorted(path.stem for path in (CONF / "logging").glob("*.yaml")))
    text = re.sub(r"(?<=or one of:\n)( +# .*\n)+", f"{stages}\n", text)
    return re.sub(r"(?<=- logging: csv )( +# ).*", rf"\g<1>{trackers}", text)


def main() -> None:
    """Rewrite the table and the first page of the configuration in place."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    TABLE.write_text(json.dumps(updated_table(table), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    page = CONF / "config.yaml"
    page.write_text(first_page(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
