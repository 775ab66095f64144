"""Values are what was written: a class named ``no`` stays a word, and 5 is not true.

YAML 1.1 reads a bare ``no`` as false and ``1e3`` as a number, and OmegaConf reads any number as true.
"""

from __future__ import annotations

from typing import Any

KEY = "class_names"
_WAY = "Value '$VALUE' of type '$VALUE_TYPE' is neither true nor false; write one of them"


def keep_names() -> None:
    """Let every YAML file that is read from now on keep the entries of ``class_names`` as they are written.

    OmegaConf builds its loader anew for each file and offers no other way in; nothing but that one list changes, so
    that ``yes`` stays a truth value where a setting is one.
    """
    import yaml
    from omegaconf import _utils

    build = _utils.get_yaml_loader
    if getattr(build, "keeps_names", False):
        return

    def get_yaml_loader() -> Any:
        class Loader(build()):  # type: ignore[misc]
            def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
                for key, value in node.value:
                    if key.value == KEY and isinstance(value, yaml.SequenceNode):
                        for entry in value.value:
                            if isinstance(entry, yaml.ScalarNode):
                                entry.tag = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
                return super().construct_mapping(node, deep=deep)

        return Loader

    get_yaml_loader.keeps_names = True  # type: ignore[attr-defined]
    _utils.get_yaml_loader = get_yaml_loader


def keep_truth_values() -> None:
    """Let fields of type bool take true, false, yes, no, on, off, 1 and 0 alone, from files and overrides alike.

    OmegaConf has no other way in: what it converts is a plain bool when a check of ours could look.
    """
    from omegaconf.errors import ValidationError
    from omegaconf.nodes import BooleanNode

    convert = BooleanNode._validate_and_convert_impl
    if getattr(convert, "keeps_truth_values", False):
        return

    def _validate_and_convert_impl(self: BooleanNode, value: Any) -> bool:
        try:
            number = value if isinstance(value, float) else int(value)
        except (TypeError, ValueError):  # a word
            number = None
        if number is not None and (isinstance(value, float) or number not in (0, 1)):
            raise ValidationError(_WAY)
        try:
            return convert(self, value)
        except ValidationError as error:
            raise ValidationError(_WAY) from error

    _validate_and_convert_impl.keeps_truth_values = True  # type: ignore[attr-defined]
    BooleanNode._validate_and_convert_impl = _validate_and_convert_impl  # type: ignore[method-assign]
