"""Names of classes in YAML files stay words: YAML 1.1 reads a bare ``no`` as false and ``1e3`` as a number."""

from __future__ import annotations

from typing import Any

KEY = "class_names"


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
