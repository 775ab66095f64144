"""What answers a question by one number of every run: the sentence, the table and the picture."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from analysis.pages.blocks import FIRST_ROWS, Headline, Picture, Table
from analysis.pages.estimate import Estimate
from analysis.seed_dots import seed_dots
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import keys_of
from pipeline.reporting.spoken import Range, count, has_interval, listed, mean_within, with_unit


def dots(intervals: Iterable[tuple[float, float, float]], noun: str = "runs") -> str:
    """Say what the marks of a figure of runs are; intervals are spoken of where there is one.

    Examples
    --------
    >>> dots([(0.5, float("nan"), float("nan"))])
    'Each dot is a run, the diamond their mean.'
    """
    one = f"Each dot is a {noun.removesuffix('s')}"
    if any(map(has_interval, intervals)):
        return f"{one}; diamond and bar are the mean and its 95 % interval over {noun}."
    return f"{one}, the diamond their mean."


def over_seeds(
    name: str,
    question: str,
    says: str,
    groups: Mapping[str, Sequence[Gathered]],
    value: Callable[[Gathered], float | None],
    *,
    heading: str,
    about: str,
    unit: str = "",
    within: Range | None = None,
    reference: float | None = None,
) -> list[Headline]:
    """Answer with the mean of one number over the seeds of each group; no headline where no run has the number.

    Parameters
    ----------
    name, question : str
        Of the headline.
    says : str
        Sentence with ``{}`` where the numbers of the groups stand.
    groups : mapping of str to list of Gathered
        Runs by group.
    value : callable
        Gives the number of a run; None or NaN where it has none.
    heading, about : str
        What the number is, and of what, for table and figure.
    unit : str
        Behind each number, such as ``%``.
    within : tuple of two float or None
        Range of the number.
    reference : float or None
        Value that the figure marks.
    """
    runs = {
        group: {member.labels.get("seed", str(i)): value(member) for i, member in enumerate(members)}
        for group, members in groups.items()
    }
    members = [member for group in groups.values() for member in group]
    sources = (keys_of(members), members[0].command)
    shown = (heading, about, unit)
    return over_runs_of(name, question, says, runs, shown, sources, within=within, reference=reference)


def over_runs_of(
    name: str,
    question: str,
    says: str,
    runs: Mapping[str, Mapping[str, float | None]],
    shown: tuple[str, str, str],
    sources: tuple[Sequence[str], str],
    *,
    within: Range | None = None,
    reference: float | None = None,
    noun: str = "seeds",
) -> list[Headline]:
    """Answer as :func:`over_seeds` does, with numbers by group and run.

    Parameters
    ----------
    runs : mapping of str to mapping of str to float or None
        From a group to the numbers of its runs.
    shown : tuple of three str
        Heading, what it is about, and unit.
    sources : tuple of list of str and str
        Keys of the artifacts, and the command that makes them.
    noun : str
        What an interval is over.
    """
    heading, about, unit = shown
    known = {
        group: {run: float(one) for run, one in found.items() if one is not None and math.isfinite(one)}
        for group, found in runs.items()
    }
    known = {group: found for group, found in known.items() if found}
    if not known:
        return []
    means = {group: mean_within(list(found.values()), within) for group, found in known.items()}
    said = {group: with_unit(*means[group], unit) for group in known}
    most = max(known.values(), key=len)
    seeded = noun == "seeds"
    counted = "runs" if seeded else noun
    interval = ", 95 % interval" if any(map(has_interval, means.values())) else ""
    table = Table(
        ["group", f"{heading}{interval}", counted],
        [[group, said[group], len(found)] for group, found in known.items()],
        about,
        keys=sources[0],
        command=sources[1],
    )
    drawn = dict(itertools.islice(known.items(), FIRST_ROWS))
    label = f"{heading}, {unit}" if unit else heading
    figure = seed_dots(drawn, means, label=label, title=heading, within=within, reference=reference, seeded=seeded)
    alt = f"{heading}: " + ", ".join(f"{group} {said[group]}" for group in drawn)
    of = count(list(most), noun) if interval or len(most) < 2 else f"n = {len(most)} {noun}, which do not differ"
    answer = f"{says.format(listed(said))}; {of}."
    picture = Picture(figure, f"{about} {dots(means.values(), counted)}", alt)
    estimates = [
        Estimate(group, heading, unit, list(found.values()), counted, within) for group, found in known.items()
    ]
    return [Headline(name, question, answer, table.first(), picture, estimates)]
