"""Options of the public functions, each said once: type, default, accepted values and documentation in one entry.

A function takes them as ``**options: Unpack[KernelOptions]``, or those of one of the smaller classes, and hands them to
:func:`kernel_options` or its counterpart, which name misspelled options, check values and fill in defaults;
:func:`documents` puts them into the function's docstring and signature. A new option is a new entry here, and its use.
"""

from __future__ import annotations

import difflib
import inspect
import re
import textwrap
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import CodeType, NoneType
from typing import Annotated, Any, TypedDict, TypeVar, Unpack, cast, get_args, get_type_hints

from torch import Tensor

from kernels.inputs.option import Option
from kernels.inputs.samples import Labels
from kernels.machine.precision import PRECISIONS

COTANGENT_OF_KIND = {"trntk": "class", "pntk": "sum", "entk": "class", "loss_gradient": "loss"}
KINDS = (*COTANGENT_OF_KIND, "conjugate", "embedding")
FORMS = ("position", "shift", "feature", "tokens")

_DOCUMENTED: dict[CodeType, list[str]] = {}
"""Keywords that a function has besides its options."""
Documented = TypeVar("Documented", bound=Callable[..., Any])


class ModelOptions(TypedDict, total=False):
    """How the gradients of a model are taken, wherever they are."""

    layers: Annotated[
        str | Sequence[str] | Callable[[str], bool],
        Option(
            "all",
            "Parameters that take part: names or prefixes, or a predicate on names. For ``embedding`` the modules "
            "whose outputs do (default: every leaf module except dropout).",
        ),
    ]
    fallback: Annotated[
        Sequence[str],
        Option((), "Parameters or modules to send through the generic per-sample route in any case."),
    ]
    output: Annotated[
        Callable[[Any], Tensor] | None,
        Option(None, "Turns what the model returns into logits."),
    ]
    eval_mode: Annotated[
        bool,
        Option(False, "Switch to evaluation mode for the duration instead of refusing training mode.", (True, False)),
    ]


class PassOptions(ModelOptions, total=False):
    """How a model is run over data."""

    precision: Annotated[
        str,
        Option(
            "float32",
            f"Arithmetic, one of {', '.join(PRECISIONS)}; sums are never below float32. float64 runs a converted copy "
            "of the model.",
        ),
    ]
    batch_size: Annotated[
        int | None,
        Option(
            None,
            "Samples per forward pass. By default 64 for features, 32 for streams of gradients, and the planner's "
            "choice for a kernel matrix.",
            least=1,
        ),
    ]
    certify: Annotated[
        str,
        Option(
            "sampled",
            "Check per-sample gradients against the network's own gradient: whole batches of every pass, a few samples "
            "of each pass, or nothing. Parameters that disagree take the generic route for that pass.",
            ("every", "sampled", "off"),
        ),
    ]


class FeatureOptions(PassOptions, total=False):
    """Where features and kernels come from and go to."""

    labels: Annotated[
        Labels | None,
        Option(None, "Class indices, for kinds that need them; they win over labels in the data."),
    ]
    out: Annotated[
        str | Path | None,
        Option(
            None,
            "A ``.safetensors`` file, written as tiles or rows are finished; a killed run continues from them, bit "
            "for bit.",
        ),
    ]
    output_layer: Annotated[
        str | None,
        Option(
            None,
            "For ``conjugate``: the module whose input is the last hidden layer h (default: the last linear map before "
            "the logits).",
        ),
    ]
    append_one: Annotated[
        bool,
        Option(False, "For ``conjugate``: append a one to h, the feature of the output layer's bias.", (True, False)),
    ]


class KernelOptions(FeatureOptions, total=False):
    """Options of a kernel matrix.

    Examples
    --------
    >>> import torch
    >>> from kernels import KernelOptions, kernel_matrix
    >>> exact: KernelOptions = {"precision": "float64", "normalize": False}
    >>> kernel_matrix(torch.nn.Linear(2, 1), torch.eye(2), **exact).matrix
    tensor([[2., 1.],
            [1., 2.]], dtype=torch.float64)
    """

    kind: Annotated[str, Option("trntk", "Which kernel.", KINDS, hint="; pNTK0 and pNTK of version 1 are trntk")]
    normalize: Annotated[
        bool | str,
        Option(
            True,
            "Divide by the root of both diagonals (cosine). Layer parts are divided by the total's diagonals, so that "
            "they add up to the matrix; ``part`` divides each by its own.",
            (True, False, "part"),
        ),
    ]
    layerwise: Annotated[
        bool | str | Mapping[str, Sequence[str]],
        Option(
            False,
            "Keep one part per parameter tensor (``True`` or ``tensor``), per module, or per named group of "
            "parameters or modules.",
            (True, False, "tensor", "module"),
            mapping="any",
        ),
    ]
    test_labels: Annotated[
        Labels | None,
        Option(None, "Class indices of the test points, which use predicted classes without any."),
    ]
    memory: Annotated[
        str | int | None,
        Option(None, "Budget for operands, tiles and passes, such as ``12GiB``."),
    ]
    forms: Annotated[
        str | Mapping[str, str] | None,
        Option(
            None,
            "Force one form of the contraction wherever it exists, or one by parameter or module.",
            FORMS,
            mapping="of choices",
        ),
    ]
    zero_gradient: Annotated[
        str,
        Option(
            "error",
            "Under a cosine, refuse samples whose features are all zero, or give them a row of zeros.",
            ("error", "zero"),
        ),
    ]
    block_rows: Annotated[
        int | None,
        Option(
            None,
            "Samples per tile side instead of the planner's choice; equal tiles give equal bits on any ranks.",
            least=1,
        ),
    ]


@lru_cache
def entries(options: type) -> dict[str, Option]:
    """Options of a class of options by name, inherited ones first.

    Examples
    --------
    >>> from kernels.inputs.options import ModelOptions, entries
    >>> entries(ModelOptions)["fallback"].default
    ()
    """
    hints = get_type_hints(options, include_extras=True)
    return {name: next(x for x in get_args(hint) if isinstance(x, Option)) for name, hint in hints.items()}


def documents(options: type) -> Callable[[Documented], Documented]:
    """Decorate a function, or class, that takes these options: its docstring and its signature list them."""

    def decorate(function: Documented) -> Documented:
        called = vars(function)["__init__"] if isinstance(function, type) else function
        taken = inspect.signature(function).parameters.values()
        own = [one.name for one in taken if one.kind is inspect.Parameter.KEYWORD_ONLY]
        _DOCUMENTED[inspect.unwrap(called).__code__] = own
        function.__doc__ = _with_section(function.__doc__, options)
        function.__signature__ = _with_keywords(inspect.signature(function), options)  # type: ignore[attr-defined]
        return function

    return decorate


def model_options(**given: Unpack[ModelOptions]) -> ModelOptions:
    """Check these options and fill in the others."""
    return cast(ModelOptions, filled(ModelOptions, given))


def pass_options(**given: Unpack[PassOptions]) -> PassOptions:
    """Check these options and fill in the others."""
    return cast(PassOptions, filled(PassOptions, given))


def feature_options(**given: Unpack[FeatureOptions]) -> FeatureOptions:
    """Check these options and fill in the others."""
    return cast(FeatureOptions, filled(FeatureOptions, given))


def kernel_options(**given: Unpack[KernelOptions]) -> KernelOptions:
    """Check these options and fill in the others.

    Examples
    --------
    >>> from kernels.inputs.options import kernel_options
    >>> kernel_options(kind="pntk")["normalize"]
    True
    >>> kernel_options(layer="fc")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    TypeError: unknown option 'layer', did you mean 'layers'? The options are layers, fallback, ...
    """
    return cast(KernelOptions, filled(KernelOptions, given))


def refuse_meaningless(kind: Any, chosen: Mapping[str, Any]) -> None:
    """Refuse options of the conjugate kernel where another kind is asked for."""
    for name in ("output_layer", "append_one"):
        if kind != "conjugate" and chosen[name] not in (None, False):
            raise ValueError(f"{name}={chosen[name]!r} has no meaning for kind {kind!r}: it is for conjugate alone")


def filled(options: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check given options of a class of options and fill in the others."""
    known = entries(options)
    for name, value in given.items():
        if name not in known:
            every = [*_own_keywords(), *known]
            near = difflib.get_close_matches(name, every, 1)
            hint = f", did you mean {near[0]!r}? The" if near else ": the"
            raise TypeError(f"unknown option {name!r}{hint} options are {', '.join(every)}")
        known[name].check(name, value)
    found = {name: given.get(name, option.default) for name, option in known.items()}
    for name in ("fallback", "layers"):
        if name in found:
            found[name] = _names(name, found[name])
    if isinstance(found.get("layerwise"), Mapping):
        found["layerwise"] = {group: _names(f"layerwise, {group}", x) for group, x in found["layerwise"].items()}
    if found.get("output") is not None and not callable(found["output"]):
        raise TypeError(f"output={found['output']!r} is no function from what the model returns to logits")
    if not isinstance(found.get("out"), (str, Path, NoneType)):
        raise TypeError(f"out={found['out']!r} is no path of a file: pass one, such as out='kernel.safetensors'")
    return found


def _names(option: str, given: Any) -> Any:
    """Turn names into a list, of which a single one may stand alone; ``"all"`` and predicates stay."""
    if callable(given) or given == "all":
        return given
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else []
    if not all(isinstance(name, str) for name in names) or not names and not isinstance(given, Iterable):
        raise TypeError(f"{option}={given!r}: pass a name, or a list of names, of parameters or modules")
    return names


def _own_keywords() -> list[str]:
    """Find the keywords of the function that was called with options, for a message about one that it does not have."""
    running = [frame.f_code for frame, _ in traceback.walk_stack(inspect.currentframe())]
    return next((_DOCUMENTED[code] for code in reversed(running) if code in _DOCUMENTED), [])


def _with_keywords(signature: inspect.Signature, options: type) -> inspect.Signature:
    """Name the options in a signature, in place of ``**options``: ``help`` and completion show them."""
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    hints = get_type_hints(options)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=_shown(hints[name]))
        for name, option in entries(options).items()
    ]
    return signature.replace(parameters=[*own, *added])


def _with_section(text: str | None, options: type) -> str:
    hints = get_type_hints(options)
    lines = ["", "", "Options", "-------"]
    for name, option in entries(options).items():
        kind = f"{{{', '.join(map(repr, option.choices))}}}" if option.choices else _shown(hints[name])
        kind += " or mapping" if option.choices and option.mapping else ""
        lines.append(f"{name} : {kind}, default {option.default!r}")
        lines.append(textwrap.fill(option.sentence, 110, initial_indent="    ", subsequent_indent="    "))
    return inspect.cleandoc(text or "") + "\n".join(lines)


def _shown(hint: Any) -> str:
    """Write a type without the modules that it comes from."""
    name = hint.__name__ if isinstance(hint, type) else str(hint)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", name)


for _options in (ModelOptions, PassOptions, FeatureOptions, KernelOptions):
    _options.__doc__ = _with_section(_options.__doc__, _options)
