"""A network of the user's own: any importable class or function that returns an ``nn.Module``, or one of transformers.

What the callable takes of the data is passed under the usual names of :func:`known_arguments`; everything else comes
from ``model.args``.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from models.pretrained import build_hugging_face, stored_config

AUTO = {"image": "AutoModelForImageClassification", "text": "AutoModelForSequenceClassification"}
"""Class of transformers that loads a classifier of each kind of rows."""
_RETURNED: WeakSet[nn.Module] = WeakSet()
"""Layers with weights that a user's callable has returned; one that comes again was not drawn from a run's seed."""
_OUTPUTS = ("num_classes", "n_classes", "num_labels", "num_outputs", "n_outputs", "out_features", "output_dim")


def known_arguments(reads: str, input_shape: Sequence[int], n_classes: int) -> dict[str, Any]:
    """List what is passed to a callable that takes an argument of that name.

    Parameters
    ----------
    reads : {"image", "text", "vector"}
        What a row is.
    input_shape : sequence of int
        Of one sample.
    n_classes : int
        Number of classes, or of regression targets.

    Examples
    --------
    >>> known_arguments("vector", (4,), 3)["in_features"], known_arguments("image", (1, 8, 8), 3)["in_channels"]
    (4, 1)
    """
    shape = tuple(input_shape)
    known: dict[str, Any] = {**dict.fromkeys(_OUTPUTS, n_classes), "input_shape": shape}
    if reads == "text":
        return known | dict.fromkeys(("max_length", "seq_len"), shape[0])
    known |= dict.fromkeys(("in_features", "input_dim", "n_features"), math.prod(shape))
    if reads == "image":
        side = shape[1] if shape[1] == shape[2] else shape[1:]
        known |= dict.fromkeys(("in_channels", "in_chans", "num_channels"), shape[0])
        known |= dict.fromkeys(("image_size", "img_size"), side)
    return known


def build_custom(
    *,
    input_shape: Sequence[int],
    n_classes: int,
    target: str | None = None,
    args: Mapping[str, Any] | None = None,
    reads: str = "image",
    head: str | None = None,
    hub: str | None = None,
    revision: str | None = None,
    reset: bool = False,
    one_logit: bool = True,
) -> nn.Module:
    """Build a network from the user's own code, or a classifier of transformers, and try it on two samples.

    Parameters
    ----------
    input_shape : sequence of int
        Of one sample: (channels, height, width), (length,) of texts, or (features,).
    n_classes : int
        Number of logits, or of regression targets.
    target : str, optional
        Class or function, such as ``mynet.MyNet``.
    args : mapping
        Keywords for it.
    reads : {"image", "text", "vector"}
        What a row is: one tensor for images and vectors, ``input_ids`` and ``attention_mask`` for texts.
    head : str, optional
        Module that computes the logits, where it cannot be found.
    hub, revision : str, optional
        In place of ``target``: repository and commit, or folder, of a transformers classifier.
    reset : bool
        Redraw the weights of a stored model.
    one_logit : bool
        Whether one logit for two classes will do, as it does for the logistic loss.

    Raises
    ------
    ValueError
        The name cannot be imported or called, what it returns is no module, or the module does not turn two samples
        into two rows of logits.

    Examples
    --------
    >>> model = build_custom(input_shape=(4,), n_classes=3, target="torch.nn.Linear", reads="vector")
    >>> model.weight.shape
    torch.Size([3, 4])
    """
    if hub is not None:
        model = _from_hub(hub, revision, reads, n_classes, dict(args or {}), reset)
        name = f"model.hub={hub}"
    elif target is not None:
        model = _called(target, known_arguments(reads, input_shape, n_classes), dict(args or {}))
        name = target
    else:
        raise ValueError("model=custom needs model.target, such as model.target=mynet.MyNet, or model.hub")
    if head is not None:
        _check_head(model, head)
    _try(model, name, reads, tuple(input_shape), n_classes, one_logit)
    return model


def imported(target: str) -> Any:
    """Import a class or function by its dotted name.

    Raises
    ------
    ValueError
        Saying which part of the name does not exist, or what went wrong in the module.
    """
    words = target.replace(":", ".").split(".")
    found: Any = None
    for count in range(len(words) - 1, 0, -1):
        name = ".".join(words[:count])
        try:
            found = import_module(name)
            break
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise ValueError(f"{name} of model.target={target} imports {error.name}, which is not here") from error
        except SystemExit as error:
            raise ValueError(
                f"{name} of model.target={target} ends the program while it is imported, as a script does; put what it "
                'runs below `if __name__ == "__main__":`'
            ) from error
        except Exception as error:
            raise ValueError(f"{name} of model.target={target} cannot be imported: {_said(error)}") from error
    if found is None:
        raise ValueError(f"model.target={target} is no importable name: there is no module {words[0]}")
    for word in words[count:]:
        if not hasattr(found, word):
            near = get_close_matches(word, [one for one in vars(found) if not one.startswith("_")], 1)
            hint = f"; did you mean {near[0]}" if near else ""
            raise ValueError(f"{name} of model.target={target} has no {word}{hint}")
        found, name = getattr(found, word), f"{name}.{word}"
    return found


def _called(target: str, known: Mapping[str, Any], args: dict[str, Any]) -> nn.Module:
    state = torch.random.get_rng_state()
    maker = imported(target)
    torch.random.set_rng_state(state)  # what a module draws while it is imported, it draws once in a process
    if isinstance(maker, nn.Module):
        raise ValueError(
            f"{target} is a module that was built already, whose weights no seed would change; name its class, or a "
            "function that returns a new one"
        )
    if not callable(maker):
        raise ValueError(f"{target} is no class or function, but {type(maker).__name__}")
    try:
        with _python_streams():
            model = maker(**_fitting(maker, target, known, args))
    except ValueError as error:
        if str(error).startswith(target):
            raise
        raise ValueError(f"{target} fails: {_said(error)}") from error
    except Exception as error:
        raise ValueError(f"{target} fails: {_said(error)}") from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{target} returns {type(model).__name__} and not a torch.nn.Module")
    layers = [part for part in model.modules() if any(True for _ in part.parameters(recurse=False))]
    again = next((layer for layer in layers if layer in _RETURNED), None)
    if again is not None:
        raise ValueError(
            f"{target} returns a {type(again).__name__} that it has returned before, with the weights of an earlier "
            "run; build every layer inside it"
        )
    _RETURNED.update(layers)
    if not any(True for _ in model.parameters()):
        raise ValueError(f"{target} returns a module without parameters")
    return model


@contextmanager
def _python_streams() -> Iterator[None]:
    """Let Python's and NumPy's generators follow torch's seed too, and put their states back afterwards."""
    plain, arrays = random.getstate(), np.random.get_state()
    random.seed(torch.initial_seed())
    np.random.seed(torch.initial_seed() % 2**32)
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(arrays)


def _fitting(maker: Callable[..., Any], target: str, known: Mapping[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Keywords for a callable: what it takes of the data, and the user's, which win."""
    try:
        taken = inspect.signature(maker).parameters
    except (TypeError, ValueError):  # built in: it says by itself what it lacks
        return args
    named = {
        name
        for name, one in taken.items()
        if one.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    }
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())
    odd = [name for name in args if name not in named and not anything]
    if odd:
        near = get_close_matches(odd[0], named, 1)
        hint = f"; did you mean {near[0]}" if near else ""
        raise ValueError(f"{target} takes no {odd[0]!r} of model.args (it takes {', '.join(sorted(named))}){hint}")
    given = {name: value for name, value in known.items() if name in named} | args
    empty = inspect.Parameter.empty
    lacking = [name for name in taken if name in named - set(given) and taken[name].default is empty]
    if lacking:
        raise ValueError(
            f"{target} needs {', '.join(lacking)}, which the data do not tell; give it in model.args, such as "
            f"'model.args={{{lacking[0]}: 16}}'"
        )
    return given


def _from_hub(
    hub: str, revision: str | None, reads: str, n_classes: int, fields: dict[str, Any], reset: bool
) -> nn.Module:
    if reads not in AUTO:
        raise ValueError(f"model.hub loads classifiers of images or texts, and these rows are {reads}s")
    weights = "path" if Path(hub).is_dir() else "hub"
    stored = stored_config(hub, revision)
    labels = stored.num_labels if stored is not None else n_classes
    if labels != n_classes and not reset and "num_labels" not in fields and _has_head(stored):
        raise ValueError(
            f"model.hub={hub} has {labels} outputs and the data have {n_classes} classes; choose data with its "
            "classes, or 'model.args={num_labels: " + f"{n_classes}" + "}' for a new random output layer"
        )
    try:
        return build_hugging_face(
            AUTO[reads],
            None,
            n_classes=n_classes,
            weights=weights,
            id=hub,
            revision=revision,
            path=hub,
            architecture={name: value for name, value in fields.items() if name != "num_labels"},
            reset=reset,
            new_head="num_labels" in fields,
        )
    except RuntimeError as error:
        raise ValueError(f"model.hub={hub} does not load: {_said(error)}") from error


def _has_head(config: Any) -> bool:
    """Whether a stored model is a classifier and no bare encoder, as its own list of classes says."""
    return any("Classification" in name for name in getattr(config, "architectures", None) or ())


def _check_head(model: nn.Module, head: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if head not in names:
        near = get_close_matches(head, names, 1)
        linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        hint = f"did you mean {near[0]}?" if near else f"its linear modules are {', '.join(linear[-6:]) or 'none'}"
        raise ValueError(f"the network has no module model.head={head}; {hint.rstrip('?')}")


def _try(model: nn.Module, name: str, reads: str, shape: tuple[int, ...], n_classes: int, one_logit: bool) -> None:
    """Run two blank samples through a network, in evaluation mode, and refuse what is no row of logits each."""
    kinds = {parameter.dtype for parameter in model.parameters()}
    kind = torch.float32 if torch.float32 in kinds else next(model.parameters()).dtype
    training = model.training
    model.eval()
    words = f"(2, {', '.join(map(str, shape))})"
    try:
        with torch.no_grad():
            if reads == "text":
                ids = torch.zeros(2, *shape, dtype=torch.int64)
                found = model(input_ids=ids, attention_mask=torch.ones_like(ids))
            else:
                found = model(torch.zeros(2, *shape, dtype=kind))
    except Exception as error:
        how = "input_ids and attention_mask" if reads == "text" else f"{reads}s"
        raise ValueError(f"{name} does not take {how} of shape {words}: {_said(error)}") from error
    finally:
        model.train(training)
    outputs = found if isinstance(found, Tensor) else getattr(found, "logits", None)
    if not isinstance(outputs, Tensor):
        raise ValueError(f"{name} returns {type(found).__name__}; it must return the logits, a tensor (n, classes)")
    wanted = (2, n_classes)
    if tuple(outputs.shape) == wanted:
        return
    if n_classes == 2 and tuple(outputs.shape) == (2, 1):
        if one_logit:
            return
        raise ValueError(f"{name} has one output for two classes, which needs the logistic loss; set training.loss=bce")
    if outputs.ndim == 2 and len(outputs) == 2:
        raise ValueError(
            f"{name} has {outputs.shape[1]} outputs and the data have {n_classes} classes; let it take num_classes, or "
            "set the number in model.args"
        )
    raise ValueError(
        f"{name} turns samples of shape {words} into {tuple(outputs.shape)}; it must return {wanted}, a row of logits "
        "for each sample"
    )


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
