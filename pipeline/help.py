"""The page that ``python run.py --help`` prints, made from the schema, the stage table and the files of ``conf/``.

It is printed before Hydra composes anything, so that it takes a fraction of a second.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from models.configs import MODEL_SCHEMAS, ModelConfig
from models.fields import Rule, rule_of
from pipeline.config.run import RunConfig
from pipeline.engine.cells import CONF
from pipeline.engine.stages import COMMANDS, STAGES
from pipeline.errors import UserError

FLAGS = {"--help", "-h"}
PAGES = {*FLAGS, "--hydra-help", "--cfg", "-c", "--info", "-i", "--version", "stage=status", "stage=verify", "stage=gc"}
"""Words that print a page and make nothing."""
WIDTH = 100
COLUMN = 34
_HARD_BLANK = "\N{NO-BREAK SPACE}"
INTRODUCTION = """\
seedscope: train networks under many seeds, look inside them, and report what differs.

  python run.py experiment=quickstart                 make a whole study, ending in a report
  python run.py experiment=quickstart stage=status    see what is done and what is missing
  python run.py stage=list select.since=7d            what was made this week, and by which command
  python run.py stage=browse serve=8000               see all runs and curves, kept fresh
  python run.py stage=verify                          check every file of the store
  python run.py stage=gc                              list what interrupted commands have left
  python run.py -m stage=train 'seed=range(0,8)'      sweep seeds; running a sweep again resumes it
  python run.py experiment=quickstart --cfg job       print every setting of a command
  python run.py --help kernel surrogate               this page for single sections
  python run.py --hydra-help                          Hydra's own flags
"""


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for this page."""
    return bool(FLAGS & set(arguments))


def asks_for_a_page(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for anything that is printed and makes nothing."""
    deletes = any(word.startswith("gc_delete=") for word in arguments)
    return not deletes and bool(PAGES & {*arguments, *(word.partition("=")[0] for word in arguments)})


def makes_artifacts(arguments: Sequence[str]) -> bool:
    """Whether a command line makes something, rather than to show or to sweep.

    Examples
    --------
    >>> makes_artifacts(["experiment=quickstart"]), makes_artifacts(["stage=status"]), makes_artifacts(["--cfg", "job"])
    (True, False, False)
    """
    stages = [word.partition("=")[2].strip("'\"") for word in arguments if word.startswith("stage=")]
    sweeps = {"-m", "--multirun"} & {*arguments}
    return not (sweeps or asks_for_a_page(arguments) or (stages and stages[-1] in COMMANDS))


def help_page(arguments: Sequence[str] = ()) -> str:
    """Write the page.

    Parameters
    ----------
    arguments : sequence of str
        The command line; where it names sections, the page holds their settings alone.

    Raises
    ------
    UserError
        If a word after ``--help`` names no section.

    Examples
    --------
    >>> print(help_page(["--help", "ensemble"]))
    ensemble: Which seeds train together under numerics.engine=ensemble.
      ensemble.block=20               Seeds of one block: 0 to 19, 20 to 39, and so on.
      ensemble.varying=null           Streams in which members differ; null: those that follow seed.
                                      init | order | augment | dropout
    """
    sections = _sections()
    for word in _words_after_flag(arguments):
        if word not in sections:
            near = get_close_matches(word.partition(".")[0], sections, 1)
            hint = f"did you mean --help {near[0]}?" if near else f"sections are {', '.join(sections)}."
            raise UserError(f"--help: there is no section {word!r}; {hint}")
    wanted = [name for name in arguments if name in sections]
    if wanted:
        return "\n\n".join("\n".join(sections[name]) for name in wanted)
    parts = [
        INTRODUCTION,
        "\n".join(["STAGES, stage=NAME", *_wrapped(" ".join([*STAGES, *COMMANDS]), "  ", "  ")]),
        "\n".join(["GROUPS, GROUP=CHOICE: a file of conf/GROUP sets a whole section", *_groups()]),
        "SETTINGS, SECTION.FIELD=VALUE: shown with the default that holds where no file of conf/ sets another",
        *("\n".join(lines) for lines in sections.values()),
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts)


def _words_after_flag(arguments: Sequence[str]) -> Iterator[str]:
    """Words that follow ``--help`` up to the next flag, settings left out."""
    start = next((place for place, word in enumerate(arguments) if word in FLAGS), len(arguments))
    for word in arguments[start + 1 :]:
        if word.startswith("-"):
            return
        if "=" not in word:
            yield word


def _groups() -> Iterator[str]:
    """Every group of ``conf/`` with its choices."""
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        choices = sorted(path.stem for path in folder.glob("*.yaml"))
        yield from _wrapped(_either(choices), " " * 16, f"  {folder.name:<13} ")


def _sections() -> dict[str, list[str]]:
    """Lines of every section of the schema by its name; the settings of a run itself come first, as ``run``."""
    config = RunConfig()
    sections: dict[str, list[str]] = {"run": ["run: What to make, and over which cells."]}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not dataclasses.is_dataclass(value):
            sections["run"] += _setting(field.name, value, rule_of(field))
            continue
        sections[field.name] = list(_section(field.name, value))
    for name, schema in MODEL_SCHEMAS.items():
        sections["model"] += ["", f"model, name={name}: {_sentence(schema)}"]
        common = {field.name for field in dataclasses.fields(ModelConfig)}
        for field in dataclasses.fields(schema):
            if field.name not in common:
                sections["model"] += _setting(f"model.{field.name}", getattr(schema(), field.name), rule_of(field))
    return sections


def _section(path: str, section: Any) -> Iterator[str]:
    """Heading and settings of one section, then those of the sections inside it."""
    yield from _wrapped(f"{path}: {_sentence(type(section))}", "  ")
    inner: list[str] = []
    for field in dataclasses.fields(section):
        name, value = f"{path}.{field.name}", getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            inner += ["", *_section(name, value)]
        elif rule_of(field).renamed_to is None:
            yield from _setting(name, value, rule_of(field))
    yield from inner


def _setting(name: str, default: Any, rule: Rule) -> Iterator[str]:
    """One setting: its name and default, its sentence beside them, and its choices or bounds below."""
    indent = " " * COLUMN
    left = f"  {name}={_spelled(default)} "
    if len(left) > COLUMN:
        yield left.rstrip()
        left = ""
    yield from _wrapped(rule.help, indent, left.ljust(COLUMN))
    if rule.choices:
        yield from _wrapped(_either(rule.choices), indent, indent)


def _sentence(schema: type) -> str:
    return " ".join((schema.__doc__ or "").partition("\n\n")[0].split()).replace("``", "")


def _spelled(value: Any) -> str:
    """Spell a default as a command line would."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(_spelled(entry) for entry in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_spelled(entry)}' for key, entry in value.items())}}}"
    return str(value)


def _either(choices: Iterable[str]) -> str:
    """Join choices by bars that stay with the word before them when a line is broken."""
    return f"{_HARD_BLANK}| ".join(choices)


def _wrapped(text: str, indent: str, first: str = "") -> list[str]:
    """Wrap a text; a word that is too long for a line stays whole."""
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_HARD_BLANK, " ") for line in lines] or [first.rstrip()]
