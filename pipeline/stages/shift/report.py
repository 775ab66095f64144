"""Report section of the shift study: tests with their null and controls, power, probes, pictures."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from analysis.pages.blocks import Finding, Headline, Picture, Section, Table, Text
from analysis.shift.figures import (
    calibration_figure,
    cue_figure,
    image_cue_figure,
    ks_figure,
    map_figure,
    pooled_pca_figure,
    power_figure,
    probe_matrix_figure,
)
from analysis.shift.image_cues import BRIGHTER
from analysis.shift.pca_ks import PooledScores
from analysis.shift.permutation import TestResult
from analysis.shift.power import Calibration, RejectionRate
from analysis.verdicts import ALPHA, exact_interval
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import about, group_label, group_names
from pipeline.reporting.headlines import over_runs_of
from pipeline.reporting.spoken import with_unit
from pipeline.stages.shift.claims import claims, select
from pipeline.stages.shift.read import (
    OutcomeRow,
    read_calibration,
    read_cues,
    read_first_draw,
    read_power,
    read_probes,
    read_tests,
)


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show every cell's tests, controls, calibration, power and probes, and decide the claims."""
    blocks: list[Any] = []
    findings: list[Finding] = []
    for member in members:
        name, artifact = _name(member), member.artifact
        rows = read_tests(artifact)
        metrics = artifact.metrics
        blocks.append(
            Text(
                f"{name}: {metrics['rows_a_side']} rows a side out of {metrics['reference_rows']:,} reference and "
                f"{metrics['sample_rows']:,} sample rows, {metrics['width']} features. {_left_out(metrics['left_out'])}"
                f"Rows: {_short(metrics['source'])}. "
                + ("Whole groups (users, queries) are permuted together. " if metrics["grouped"] else "")
                + " ".join(f"{side.capitalize()}: {note}" for side, note in metrics["crowded"].items())
                + f" Most separable rows by id: reference {metrics['typical_reference_ids']}, sample "
                f"{metrics['typical_sample_ids']}.",
                [artifact.key],
            )
        )
        controls = _controls(name, rows)
        findings += [
            Finding(line, [artifact.key])
            for line in [*controls, *_probe_line(name, artifact), *_own_errors(name, artifact)]
        ]
        blocks.append(_tests_table(name, rows, member))
        blocks += _probe_table(name, member)
        blocks += _pictures(name, artifact)
        blocks += about([member], claims(name, rows, artifact), "2310.13836")
    return Section("Distribution shift", [*findings, Text(NAMES), *blocks], _seen(members))


NAMES = (
    "P is the reference sample and M the one that is compared with it; P' is a second draw from the reference, which "
    "shares no row with P."
)
"""What the letters of the tables stand for."""


SIDES = {
    "embeddings": "embedding",
    "surface cues": "cues",
    "character n-grams": "character n-grams",
    "pixels": "pixels",
}
"""Representations whose classifiers are compared, as the first screen calls them; rows have three of them."""


def _name(member: Gathered) -> str:
    """Name a cell by its data and network; what its tests are set to stands in its tables."""
    parts = group_label(member.labels).split(", ")
    kept = ", ".join(part for part in parts if not part.startswith("shift.")) or group_label(member.labels)
    return group_names([kept])[kept]


def _seen(members: list[Gathered]) -> list[Headline]:
    """Answer whether the two samples are told apart, and whether surface marks suffice for that."""
    member = members[0]
    rows = read_tests(member.artifact)
    runs: dict[str, dict[str, float | None]] = {
        label: {str(i): float(row["auc"]) for i, row in enumerate(select(rows, "P-M", "C2ST (split)", kind))}
        for label, kind in SIDES.items()
    }
    runs = {label: found for label, found in runs.items() if found}
    p = float(np.median([row["p"] for row in select(rows, "P-M", "MMD²")]))
    what = "network" if member.artifact.metrics.get("rows") == "images" else "texts"
    of = "" if len(members) == 1 else f" ({what}: {_name(member)}; the other settings are below)"
    return over_runs_of(
        "seen",
        "Are the two samples told apart, and do surface marks suffice for that?",
        f"A classifier tells the sample from the reference with an AUC of {{}}, where 0.5 is chance; the kernel "
        f"test of the embeddings (MMD) has a median p of {p:.3g}{of}",
        runs,
        ("AUC", f"Held-out AUC of classifiers between sample and reference{of}: 0.5 is chance, 1 is perfect.", ""),
        ([member.artifact.key], member.command),
        within=(0.0, 1.0),
        reference=0.5,
        noun="draws",
    )


_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]+")


def _short(source: object) -> str:
    """Cut digests to their first letters."""
    return _DIGEST.sub(r"\1…", str(source))


def _left_out(counts: dict[str, int]) -> str:
    found = {key.replace("_", " "): value for key, value in counts.items() if value}
    return f"Left out: {', '.join(f'{key} {value:,}' for key, value in found.items())}. " if found else ""


def _controls(name: str, rows: list[OutcomeRow]) -> list[str]:
    found = {kind: [row["auc"] for row in select(rows, "P-M", "C2ST (split)", kind)] for kind in SIDES.values()}
    auc = {kind: float(np.median(values)) for kind, values in found.items() if values}
    shown = ", ".join(f"{kind} {value:.3f}" for kind, value in auc.items())
    lead = "surface cues separate the sides as well as the embeddings do; " if auc["cues"] >= auc["embedding"] else ""
    p = [row["p"] for row in select(rows, "P-M", "MMD²")]
    null = [row["p"] for row in select(rows, "P-P'", "MMD²")]
    return [
        f"{name}: {lead}median AUC between sample and reference: {shown}. MMD p: median {np.median(p):.3g} (P-M), "
        f"{np.median(null):.3g} (P-P')."
    ]


def _own_errors(name: str, artifact: Artifact) -> list[str]:
    """Say how often the network itself errs on both sides, before rows are cleaned."""
    said = []
    for side, found in artifact.metrics.get("own_errors", {}).items():
        low, high = exact_interval(found["errors"], found["rows"])
        share = with_unit(100 * found["errors"] / found["rows"], 100 * low, 100 * high, "%")
        said.append(f"{share} of {found['rows']:,} {side} rows")
    return (
        [f"{name}: the network itself errs on {' and '.join(said)} (exact 95 % intervals over rows)."] if said else []
    )


def _probe_line(name: str, artifact: Artifact) -> list[str]:
    """Say how a probe that is trained on P fares on both sides; of texts, the claims of the study say it."""
    found = [row for row in read_probes(artifact) if row.train == "P"] if "rows" in artifact.metrics else []
    if not found:
        return []
    size = max(row.size for row in found)
    shares = {
        test: float(np.mean([100 * row.accuracy for row in found if (row.size, row.test) == (size, test)]))
        for test in ("P", "M")
    }
    return [
        f"{name}: a linear probe of {size:,} reference rows is right on {shares['P']:.1f} % of further ones and "
        f"on {shares['M']:.1f} % of sample rows (mean of {len({row.redraw for row in found})} redraws)."
    ]


def _tests_table(name: str, rows: list[OutcomeRow], member: Gathered) -> Table:
    places = list(dict.fromkeys((row["representation"], row["test"], row["class"]) for row in rows))
    table = []
    for kind, test, value in places:
        for pair in dict.fromkeys(row["pair"] for row in rows):
            found = [
                row
                for row in rows
                if (row["representation"], row["test"], row["class"], row["pair"]) == (kind, test, value, pair)
            ]
            if not found:
                continue
            p = np.array([row["holm_p"] for row in found])
            statistic = np.array([row["statistic"] for row in found])
            within = f" in class {value} (Holm)" if value else ""
            auc = np.array([row["auc"] for row in found])
            table.append(
                [
                    kind,
                    test + within,
                    pair,
                    len(found),
                    float(np.median(statistic)),
                    f"[{statistic.min():.4g}, {statistic.max():.4g}]",
                    float(np.median(auc)),
                    float(np.median(p)),
                    f"[{p.min():.3g}, {p.max():.3g}]",
                    float(np.mean(p <= ALPHA)),
                ]
            )
    return Table(
        ["features", "test", "pair", "draws", "statistic", "range", "AUC", "p (median)", "range of p", "p ≤ 0.05"],
        table,
        f"{name}: two-sample tests over draws of P, P' and M. P-P' compares two disjoint draws of the reference: its "
        "rejections are false. Planted differences that must be found: P' moved by two standard deviations along a "
        f"random direction, and {_MARKS[member.artifact.metrics.get('rows', 'texts')]}. "
        "Permutation p-values cannot fall below 1/(R + 1).",
        keys=[member.artifact.key],
        command=member.command,
    )


_MARKS = {
    "texts": "a blank at the end of every text of P' (undone where texts are normalized)",
    "images": f"images of P' that are brighter by {BRIGHTER} gray levels",
}
"""What the second planted control marks on the surface of rows."""


def _probe_table(name: str, member: Gathered) -> list[Table]:
    found = read_probes(member.artifact)
    if not found:
        return []
    rows = []
    for train, size in dict.fromkeys((row.train, row.size) for row in found):
        here = [row for row in found if (row.train, row.size) == (train, size)]
        cells: list[Any] = []
        for test in ("P", "M", "M held out"):
            values = [100 * row.balanced_accuracy for row in here if row.test == test]
            cells += [float(np.mean(values)), float(np.std(values, ddof=1))] if len(values) > 1 else ["–", "–"]
        rows.append([train.replace("_", " "), size or "–", len({row.redraw for row in here}), *cells])
    return [
        Table(
            ["trained on", "rows", "redraws", "on P %", "sd", "on M %", "sd", "on held-out M %", "sd"],
            rows,
            f"{name}: balanced accuracy of linear probes trained on P and on M, and of rivals trained on P, over "
            "redraws of the training and held-out rows. Rivals are trained once, so that their spread is that of the "
            "held-out rows alone; fine-tuning and a trained head saw the whole training split of P.",
            keys=[member.artifact.key],
            command=member.command,
        )
    ]


def _pictures(name: str, artifact: Artifact) -> list[Picture]:
    first, metrics = read_first_draw(artifact), artifact.metrics
    sizes = (len(first.reference), len(first.sample))
    scores = PooledScores(first.reference, first.sample, first.explained_variance)
    labels = (first.reference_labels, first.sample_labels)
    ks, null = (
        TestResult("KS", max(d["distance"]), 1.0, sizes, 0, 0.0, d) for d in (metrics["ks"], metrics["ks_null"])
    )
    shown: list[tuple[Figure, str, str]] = [
        (
            pooled_pca_figure(scores, ks, names=("P", "M"), labels=labels if metrics["labelled"] else None),
            "pooled principal components of the first draw: the two leading ones, and the two that differ most",
            "Scatter of both samples on their leading principal components and on the two that differ most",
        ),
        (
            map_figure(first.map[: sizes[0]], first.map[sizes[0] :], names=("P", "M")),
            "t-SNE map of the pooled embeddings of the first draw; distances between clusters mean little",
            "t-SNE map of both samples, where neighbors in the embedding lie together",
        ),
        (
            ks_figure(ks, null),
            "KS distance by pooled component",
            f"Kolmogorov-Smirnov distance by component: at most {ks.statistic:.2f} between the samples, "
            f"{null.statistic:.2f} between two draws of the reference",
        ),
        (
            calibration_figure(_calibrations(artifact)),
            "level of every test over pairs of draws from the reference alone; gray: 99 % binomial band",
            "How often each test rejects where nothing differs, and its p-values there",
        ),
        (
            (image_cue_figure if metrics.get("rows") == "images" else cue_figure)(read_cues(artifact)),
            "surface cues of all cleaned rows",
            "Rates of surface cues in both samples",
        ),
    ]
    if power := read_power(artifact):
        figure = power_figure([asdict(row) for row in power])
        shown.append(
            (
                figure,
                "power by rows a side, exact 95 % intervals",
                "How often each test finds a difference, by rows a side",
            )
        )
    if probes := read_probes(artifact):
        figure = probe_matrix_figure([asdict(row) for row in probes])
        shown.append(
            (
                figure,
                "probes by training source and size, median and range over redraws",
                "Balanced accuracy of probes by what they were trained on and where they are scored",
            )
        )
    return [Picture(figure, f"{name}: {caption}.", alt) for figure, caption, alt in shown]


def _calibrations(artifact: Artifact) -> dict[str, Calibration]:
    rows = read_calibration(artifact)
    found = {}
    for name in dict.fromkeys(row["test"] for row in rows):
        here = [row for row in rows if row["test"] == name]
        p = np.array([row["p"] for row in here])
        hits = int(np.count_nonzero(p <= ALPHA))
        interval = stats.binomtest(hits, p.size).proportion_ci(0.95)
        rate = RejectionRate(
            name, here[0]["size"], p.size, hits, hits / p.size, float(interval.low), float(interval.high), ALPHA
        )
        fit = float(stats.kstest(p, "uniform", alternative="greater").pvalue)
        found[name] = Calibration(rate, (here[0]["low"], here[0]["high"]), hits <= here[0]["high"], fit, p)
    return found
