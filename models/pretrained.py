"""Hugging Face classifiers from a random configuration or from local safetensors weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.configs import SOURCES


def build_hugging_face(
    auto_class: str,
    family: str | None,
    *,
    n_classes: int,
    weights: str,
    id: str | None,
    revision: str | None,
    path: str | None,
    architecture: Mapping[str, Any],
    reset: bool = False,
    new_head: bool = False,
) -> nn.Module:
    """Build a transformers classifier whose per-sample gradients can be taken by ``torch.func``.

    Attention is always ``eager`` (the other implementations raise under ``vmap``) and no key-value cache is
    returned. Nothing is downloaded and no pickle is opened: weights are local and in safetensors.

    Parameters
    ----------
    auto_class : str
        Name of a transformers ``Auto*`` class, such as ``AutoModelForSequenceClassification``.
    family : str or None
        Model type, such as ``gpt2``; weights of another type are refused. None takes the type of stored weights.
    n_classes : int
        Number of logits.
    weights : {"random", "hub", "path", "packaged"}
        ``hub`` reads the local Hugging Face cache at (``id``, ``revision``); ``path`` and ``packaged`` read a
        saved-model folder.
    id, revision : str, optional
        Repository and commit for ``hub``.
    path : str, optional
        Folder for ``path`` and ``packaged``.
    architecture : mapping
        Configuration fields, such as ``n_layer``; with stored weights only those that change no shape, such as
        dropout rates, make sense.
    reset : bool
        Keep the stored configuration and redraw all weights from the default generator.
    new_head : bool
        Let a stored output layer of another number of classes give way to a random one.

    Returns
    -------
    nn.Module
        In float32; weights missing from the source (the classification head) are drawn from the default generator.

    Raises
    ------
    ValueError
        Unknown source or family, missing ``id`` or ``path``, or stored weights that do not fill the model's body.
    FileNotFoundError
        The weights are not on this machine, or not as safetensors.
    """
    if weights not in SOURCES:
        raise ValueError(f"unknown model.weights {weights!r}; choose one of {', '.join(SOURCES)}")
    import transformers

    factory = getattr(transformers, auto_class)
    fields = {"num_labels": n_classes, **architecture}
    if weights == "random":
        try:
            config = transformers.AutoConfig.for_model(family, **fields)
        except ValueError as error:
            raise ValueError(f"transformers has no model family {family!r}") from error
        _refuse_unknown(config, architecture)
        _complete(config)
        return factory.from_config(config, attn_implementation="eager", dtype=torch.float32, trust_remote_code=False)
    source, where = _locate(weights, id, path)
    options = {"revision": revision, "local_files_only": True, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **options, **fields)
        if family is not None and config.model_type != family:
            raise ValueError(f"{where} holds a {config.model_type!r} model, but model.family is {family!r}")
        _refuse_unknown(config, architecture)
        _complete(config)
        if reset:
            return factory.from_config(
                config, attn_implementation="eager", dtype=torch.float32, trust_remote_code=False
            )
        with _quiet_loading(transformers):
            model, report = factory.from_pretrained(
                source,
                config=config,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",
                output_loading_info=True,
                ignore_mismatched_sizes=new_head,
                **options,
            )
    except OSError as error:
        if isinstance(error, PermissionError) and error.filename is not None:
            raise  # the file is there and may not be read
        raise FileNotFoundError(
            f"no safetensors weights at {where} on this machine. Fetch them once where there is a network "
            "(`huggingface-cli download ID --revision COMMIT`), or choose model.weights=path with a saved-model "
            "folder, or model.weights=random"
        ) from error
    body = f"{model.base_model_prefix}."
    lacking = sorted(key for key in report["missing_keys"] if key.startswith(body) and "pooler" not in key)
    if lacking:
        raise ValueError(f"{where} lacks {len(lacking)} weights of the model's body, such as {lacking[0]!r}")
    return model


def stored_config(place: str, revision: str | None) -> Any:
    """Read the transformers configuration of a folder or of a repository in the local cache; None where it is not."""
    import transformers

    try:
        return transformers.AutoConfig.from_pretrained(
            place, revision=revision, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError):
        return None


def _refuse_unknown(config: Any, architecture: Mapping[str, Any]) -> None:
    """Refuse fields that the family does not have, which transformers keeps and no network reads, and no counts."""
    known = type(config)()
    unknown = [name for name in architecture if not hasattr(known, name)]
    if unknown:
        near = get_close_matches(unknown[0], known.to_dict(), 1)
        hint = f", did you mean {near[0]}" if near else ""
        raise ValueError(f"model.architecture holds {unknown[0]!r}, which {config.model_type} does not have{hint}")
    for name, value in architecture.items():
        if name.startswith(("n_", "num_")) and isinstance(value, int) and value < 1:
            raise ValueError(f"model.architecture.{name}={value} is below 1")


def _complete(config: Any) -> None:
    """Set what batched, cache-free classification needs."""
    config.use_cache = False
    if getattr(config, "pad_token_id", None) is None and getattr(config, "eos_token_id", None) is not None:
        config.pad_token_id = config.eos_token_id


def _locate(weights: str, id: str | None, path: str | None) -> tuple[str, str]:
    """Return what transformers loads from, and how to name it in messages."""
    if weights == "hub":
        if id is None:
            raise ValueError("model.weights=hub needs model.id (and model.revision, a commit)")
        return id, f"hub repository {id!r}"
    if path is None:
        raise ValueError(f"model.weights={weights} needs model.path, a saved-model folder")
    if not Path(path).is_dir():
        raise FileNotFoundError(f"model.path {path!r} is not a folder")
    return path, f"folder {path!r}"


@contextmanager
def _quiet_loading(transformers: Any) -> Iterator[None]:
    """Silence transformers' loading bar and its report of a newly initialized head, which is intended here."""
    logging = transformers.utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
