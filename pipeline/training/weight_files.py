"""Weights that were trained elsewhere: reading their files without running code, and fitting them to a network."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.errors import UserError

ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Entries of a checkpoint that hold the weights, in the order in which they are looked for."""
PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers write before every name: data parallelism, Lightning, torch.compile."""
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
"""Files of weights in a folder that transformers wrote; each may be split into several that its index lists."""
_SHOWN = 6


@dataclass(frozen=True)
class Fit:
    """How the weights of a file fitted a network.

    Attributes
    ----------
    stripped : str
        What was taken off the beginning of the file's names.
    missing : list of str
        Names of the network that the file lacks or has in another shape; they stay as initialized.
    unexpected : list of str
        Names in the file that the network does not have.
    """

    stripped: str
    missing: list[str]
    unexpected: list[str]


def read_weights(path: Path, entry: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a file or of a folder that transformers wrote, by name; no code in it is run.

    Parameters
    ----------
    path : Path
        ``*.safetensors``, a file of ``torch.save`` (a state_dict, or a dictionary that holds one, as Lightning
        writes), or a folder with ``model.safetensors`` or ``pytorch_model.bin``.
    entry : str, optional
        Which entry of a dictionary holds the weights; None finds it.

    Raises
    ------
    UserError
        If the file cannot be read without running code, is damaged, or holds no tensors.
    """
    if path.is_dir():
        return {name: value for file in _files_of(path) for name, value in read_weights(file, entry).items()}
    if path.name.endswith(".safetensors"):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} is no readable safetensors file ({error}); write it again.") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TorchScript, which is refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise UserError(
                f"{path} holds an object of {found[1]}, which only running its code could read. Save the weights alone "
                "where it was made: torch.save(model.state_dict(), FILE)."
            ) from error
        if "TorchScript" in str(error):
            raise UserError(
                f"{path} is a TorchScript archive, which holds code; write its weights to a file of their own: "
                "torch.save(torch.jit.load(FILE).state_dict(), NEW)."
            ) from error
        reason = "" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        told = f" ({reason})" if reason else ""
        raise UserError(f"{path} is no file of weights that torch reads{told}; write it again.") from error
    return _tensors_of(content, path, entry)


def _files_of(folder: Path) -> list[Path]:
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                named = list(dict.fromkeys(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{index} is no list of the files of weights; save the model again.") from error
            if absent := [file for file in named if not (folder / file).is_file()]:
                raise UserError(f"{folder} lacks {_some(absent)}, which {index.name} lists; copy the whole folder.")
            return [folder / file for file in named]
    raise UserError(
        f"{folder} is a folder without {' or '.join(FOLDER_FILES)}; weights.path names a file, or a folder that "
        "transformers wrote with save_pretrained."
    )


def _tensors_of(content: Any, path: Path, entry: str | None) -> dict[str, Tensor]:
    """Find the dictionary of tensors in what a file holds."""
    if isinstance(content, Tensor):
        raise UserError(f"{path} holds one tensor and not the weights of a network, a state_dict.")
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds {type(content).__name__} and not a state_dict; save model.state_dict().")
    if entry is None:
        content = _weights_in(content)
    else:
        chosen = _entry_of(content, entry)
        if chosen is None:
            raise UserError(f"{path} has no entry weights.entry={entry}; it has {_some(list(content))}.")
        content = chosen
    found = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not found:
        raise UserError(
            f"{path} holds no tensors but {_some(list(content))}; name the entry with the weights by weights.entry."
        )
    return found


def _weights_in(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Find the entry with the weights; a dictionary without one is the weights itself."""
    inner = next((name for name in ENTRIES if isinstance(content.get(name), Mapping)), None)
    return content if inner is None else _weights_in(content[inner])


def _entry_of(content: Mapping[Any, Any], entry: str) -> Mapping[Any, Any] | None:
    """Find an entry, one in another (``state.model``), or the weights whose names begin with it (``ema_model``)."""
    if isinstance(content.get(entry), Mapping):
        return content[entry]
    outer, _, rest = entry.partition(".")
    if rest and isinstance(content.get(outer), Mapping):
        return _entry_of(content[outer], rest)
    begin = f"{entry}."
    named = {str(name): value for name, value in _weights_in(content).items() if str(name).startswith(begin)}
    return {name.removeprefix(begin): value for name, value in named.items()} or None


def load_outside_weights(
    model: nn.Module, tensors: Mapping[str, Tensor], allow: Sequence[str], where: str, network: str
) -> Fit:
    """Load tensors into a network by their names, in place, less what wrappers wrote before them.

    Parameters
    ----------
    model : nn.Module
        As initialized; what is allowed to be missing stays so.
    tensors : mapping
        By name.
    allow : sequence of {"missing", "unexpected"}
        What may be amiss.
    where, network : str
        How messages call the file and the network.

    Raises
    ------
    UserError
        With the names that are missing, unexpected or of another shape.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    stripped, named = _without_prefix(tensors, own)
    shapes = sorted(name for name in own.keys() & named.keys() if own[name].shape != named[name].shape)
    if odd := sorted(name for name in own.keys() & named.keys() if _loses(named[name], own[name])):
        kinds = [f"{value.dtype}".removeprefix("torch.") for value in (named[odd[0]], own[odd[0]])]
        raise UserError(
            f"{where} holds {odd[0]} as {kinds[0]} {named[odd[0]].layout}, which does not become the {kinds[1]} of "
            f"{network}; save dense weights of real numbers."
        )
    fitting = {name: value for name, value in named.items() if name in own and name not in shapes}
    loaded = {own[name].data_ptr() for name in fitting}
    missing = [
        name
        for name in own
        if name not in fitting
        and not name.endswith("num_batches_tracked")  # older files lack it, and evaluation does not read it
        and own[name].data_ptr() not in loaded  # tied to a weight that is there
    ]
    unexpected = sorted(named.keys() - own.keys() - {"n_averaged"})  # torch's AveragedModel counts in it
    lacking = [name for name in missing if name not in shapes]
    wrong = []
    if lacking and "missing" not in allow:
        wrong.append(f"lacks {len(lacking)} of its {len(own)} tensors ({_some(lacking)})")
    if unexpected and "unexpected" not in allow:
        wrong.append(f"holds {len(unexpected)} that it does not have ({_some(unexpected)})")
    if shapes and not {"missing", "unexpected"} <= set(allow):
        several = [f"{name} {tuple(named[name].shape)}, here {tuple(own[name].shape)}" for name in shapes]
        wrong.append(f"holds {len(shapes)} of another shape ({_some(several)})")
    if wrong or not fitting:
        words = " and ".join(wrong or ["holds none of its tensors"])
        needed = [kind for kind, odd in (("missing", lacking or shapes), ("unexpected", unexpected or shapes)) if odd]
        way = f", or load what fits by weights.allow=[{','.join(needed)}]" * bool(fitting)
        way += ": the rest stays random" * bool(fitting and "missing" in needed)
        raise UserError(
            f"{where} does not fit {network}: it {words}. Choose the network that it was made with (model.args and "
            f"the like){way}."
        )
    model.load_state_dict(model.state_dict() | fitting)
    return Fit(stripped, missing, unexpected)


def _without_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Take off what wrappers wrote before the names, as far as it makes more of them fit."""
    best = (len(own.keys() & tensors.keys()), "", dict(tensors))
    # Each prefix is taken off at most once.
    queue: list[tuple[str, dict[str, Tensor], tuple[str, ...]]] = [("", dict(tensors), PREFIXES)]
    while queue:
        taken, names, left = queue.pop(0)
        for prefix in left:
            if not any(name.startswith(prefix) for name in names):
                continue
            without = {name.removeprefix(prefix): value for name, value in names.items()}
            queue.append((f"{taken}{prefix}", without, tuple(one for one in left if one != prefix)))
            fits = len(own.keys() & without.keys())
            best = max(best, (fits, *queue[-1][:2]), key=lambda one: one[0])
    return best[1], best[2]


def _loses(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor holds another kind of numbers than the network's real ones; their precision does not count."""
    other = given.is_complex() != own.is_complex() or given.layout != own.layout
    return other or (own.is_floating_point() and not given.is_floating_point())


def _some(names: Sequence[object]) -> str:
    words = ", ".join(map(str, names[:_SHOWN]))
    return words + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
