"""Which files of ours can decide the numbers of an artifact under its address, and which only words or addresses.

What decides what is computed enters the address itself: settings by value, inputs by key, a stage by its VERSION. A
change of the files below can therefore change what a command says or which artifact it takes, and no byte of one that
it finds; "made by other code" after each reworded message would teach people to overlook it.
"""

from __future__ import annotations

import re

_NO_NUMBERS = re.compile(
    r"models/(fields|configs)\.py"
    r"|analysis/plain_text\.py"
    r"|pipeline/(config|checks|tracking|upkeep)/.*"
    r"|pipeline/(ending|entry|errors|help|hydra_callbacks|output_folder|shown_text)\.py"
    r"|pipeline/data/errors\.py"
    r"|pipeline/engine/(composition|inventory|schedule)/.*"
    r"|pipeline/engine/(attempt|cells|executor|freeze|graph|keys|needs|plan|planned"
    r"|rebuild|replacement|scale|slugs|stages|staleness|status)\.py"
    r"|pipeline/machine/(children|code_digest|content_digest|cores|deciding_files|deletion|folders|hub_commits|memory_peak|owner_lock"
    r"|payload_files|progress|provenance|reachable|scratch|sealed_files|side_files)\.py"
    r"|pipeline/training/(foresight|progress_bar)\.py"
    r"|pipeline/stages/\w+/foreseen\.py"
)
_PAGES = re.compile(r"analysis/pages/.*|pipeline/(reporting|results)/.*|pipeline/stages/\w+/report\w*\.py")
_CLAIMS = re.compile(r"pipeline/stages/(\w+)/claims\.py")


def decides(name: str, stage: str) -> bool:
    """Whether a file can change an artifact of a stage whose address stays.

    Parameters
    ----------
    name : str
        Path below the project's root.
    stage : str
        Name of the stage; a report is a page, and its words are its content.

    Examples
    --------
    >>> decides("models/mlp.py", "train"), decides("pipeline/checks/data.py", "train")
    (True, False)
    >>> decides("pipeline/reporting/page.py", "train"), decides("pipeline/reporting/page.py", "report")
    (False, True)
    """
    if _NO_NUMBERS.fullmatch(name):
        return False
    if stage == "report":
        return True
    claims = _CLAIMS.fullmatch(name)
    return not _PAGES.fullmatch(name) and (claims is None or claims[1] == stage)
