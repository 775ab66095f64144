"""What Hydra and OmegaConf refuse, in one sentence: the setting, what is wrong with it, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from pipeline.engine.composition.command_words import shell_word
from pipeline.engine.composition.setting_names import no_such_setting


def plain_words(error: HydraException | OmegaConfBaseException | YAMLError) -> str:
    """Say in one sentence what a configuration that does not compose has wrong.

    Parameters
    ----------
    error : HydraException, OmegaConfBaseException or YAMLError
        As raised while composing or converting.

    Examples
    --------
    >>> from omegaconf import OmegaConf
    >>> from pipeline.config.training import TrainingConfig
    >>> try:
    ...     OmegaConf.merge({"training": TrainingConfig}, {"training": {"epochs": "ten"}})
    ... except OmegaConfBaseException as error:
    ...     plain_words(error)
    "training.epochs: Value 'ten' of type 'str' could not be converted to Integer."
    """
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}, is not valid YAML: {error.problem}."
    if isinstance(error, MissingConfigException):
        return _missing(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    text = str(error)
    named = re.search(r"Could not override '([^']+)'", text)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return no_such_setting(str(cause.full_key or (named and named[1])))
    if isinstance(cause, OmegaConfBaseException):
        return _unfit(str(cause.full_key or ""), _first_line(str(cause.msg or cause)))
    in_file = re.match(r"In '([^']+)': \w+ raised while composing config:\n(.*)\n\s*full_key: (\S+)", text)
    if in_file:
        file, reason, key = in_file.groups()
        wrong = no_such_setting(key) if reason.startswith("Key ") else f"{key}: {reason}."
        return f"In conf file {file}: {wrong[:1].lower() if wrong.startswith('There') else wrong[:1]}{wrong[1:]}"
    if named:
        return no_such_setting(named[1])
    several = re.search(r"Ambiguous value for argument '([^=]+)=(.*)'", text)
    if several:
        return (
            f"{several[1]}={several[2]} holds several values: a list is written {several[1]}=[{several[2]}], and a "
            "sweep over them takes -m."
        )
    kept = [line.strip() for line in text.splitlines() if line.strip() and "https://" not in line]
    return " ".join(kept).rstrip(".") + "."


def _unfit(name: str, reason: str) -> str:
    """Say why a value has the wrong type for its setting."""
    if "is not a ListConfig, list or tuple" in reason or "Cannot merge DictConfig with ListConfig" in reason:
        kind = "[A,B], also for a single entry" if "is not a ListConfig" in reason else "{NAME: VALUE}"
        return f"{name} takes {'a list' if kind[0] == '[' else 'names with values'}: write {name}={kind}."
    if reason.endswith("is not Optional"):
        return f"{name} takes no null; give it a value, or leave it out."
    if "to Dict[" in reason:
        return f"{name} takes names with values: write '{name}={{NAME: VALUE}}'."
    if "is not a subclass of" in reason:
        return f"{name} is a section of several settings: write {name}.NAME=VALUE."
    return f"{f'{name}: ' if name else ''}{reason.rstrip('.')}."


def _missing(error: MissingConfigException) -> str:
    """Name the file of a group that is not there, and those that are."""
    found = re.search(r"Could not find '(.+)/([^/']+)'", str(error))
    if found is None:
        return f"{_first_line(str(error)).rstrip('.')}."
    group, name = found[1], found[2]
    options: Sequence[str] = error.options or []
    near = get_close_matches(name, options, n=1)
    hint = f"; did you mean {group}={near[0]}?" if near else "."
    return f"Could not find '{group}/{name}': {group} is one of {', '.join(options) or 'nothing'}{hint}"


_ENTRIES = re.compile(r"\[[^\[\]{}\"']*\]")


def _unreadable(error: OverrideParseException) -> str:
    """Say how to write a word that Hydra's grammar does not take, such as a value with a space."""
    word, reason = error.override, _first_line(str(error.message))
    if reason.startswith("LexerNoViableAlt"):
        reason = "a character of it means something else there"
    name, equals, value = word.partition("=")
    if not equals:
        return f"{word!r} is no setting: write NAME=VALUE, such as seed=3."
    if name.startswith("-"):
        return f"{word!r} is no flag; settings are written without dashes, {name.lstrip('-')}={value}."
    if value.startswith("["):  # a list whose entries are overrides
        again = shell_word(f"{name}={_with_quoted_entries(value)}")
        return f"{word!r} cannot be read ({reason}): quote the entries of its list, {again}."
    if value.startswith("{") and (quoted := _ENTRIES.sub(lambda found: _with_quoted_entries(found[0]), value)) != value:
        again = shell_word(f"{name}={quoted}")  # names with lists whose entries are overrides
        return f"{word!r} cannot be read ({reason}): quote the entries of its lists, {again}."
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    again = shell_word(f"{name}='{quoted}'")
    return f"{word!r} cannot be read ({reason}): quote its value once more, {again}."


def _with_quoted_entries(value: str) -> str:
    """Put the innermost entries of lists into double quotes; commas and brackets inside an entry stay in it."""
    found, entry, depth = "", "", 0
    for character in value:
        if depth == 0 and (character in ",]" or (character == "[" and not entry.strip())):
            bare = entry.strip().strip("\"'")
            found, entry = found + (f'"{bare}"' if bare else "") + character, ""
            continue
        depth += (character in "[{") - (character in "]}")
        entry += character
    return found + entry


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()
