"""Report section of the shift study: tests beside their null and controls, power, probes, pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from analysis.domain_permutation import TestResult
from analysis.figures_shift import (
    calibration_figure,
    cue_figure,
    ks_figure,
    map_figure,
    pooled_pca_figure,
    power_figure,
    probe_matrix_figure,
)
from analysis.pooled_pca import PooledScores
from analysis.shift_power import Calibration, RejectionRate
from analysis.shift_probes import paired_difference
from analysis.surface_cues import CUES
from pipeline.artifacts import Artifact
from pipeline.build import Gathered
from pipeline.report_blocks import NOT_REPRODUCED, REPRODUCED, UNDECIDED, Picture, Section, Table, Text, Verdict
from pipeline.report_train import group_label
from pipeline.schema import RunConfig

ALPHA = 0.05


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show every cell's tests, controls, calibration, power and probes, and decide the claims."""
    blocks: list[Any] = []
    findings: list[str] = []
    for member in members:
        name, artifact = group_label(member.labels), member.artifact
        rows = artifact.table("tests.parquet").to_pylist()
        metrics = artifact.metrics
        blocks.append(
            Text(
                f"{name}: {metrics['rows_a_side']} rows a side out of {metrics['reference_rows']:,} reference and "
                f"{metrics['sample_rows']:,} sample rows, {metrics['width']} features. Left out: "
                + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in metrics["left_out"].items())
                + f". Most separable rows by id: reference {metrics['typical_reference_ids']}, sample "
                f"{metrics['typical_sample_ids']}."
            )
        )
        controls = _controls(name, rows)
        findings += controls
        blocks += [Text(line) for line in controls]
        blocks.append(_tests_table(name, rows, member))
        blocks += _pictures(name, artifact)
        blocks += _verdicts(name, rows, artifact)
    return Section("Distribution shift", blocks, findings)


def _select(
    rows: list[dict[str, Any]], pair: str, test: str, representation: str = "embedding"
) -> list[dict[str, Any]]:
    return [
        row
        for row in rows
        if (row["pair"], row["test"], row["representation"]) == (pair, test, representation) and not row["class"]
    ]


def _controls(name: str, rows: list[dict[str, Any]]) -> list[str]:
    auc = {
        kind: float(np.median([row["auc"] for row in _select(rows, "P-M", "C2ST (split)", kind)]))
        for kind in ("embedding", "cues", "character n-grams")
    }
    shown = ", ".join(f"{kind} {value:.3f}" for kind, value in auc.items())
    lead = "surface cues separate the sides as well as the embeddings do; " if auc["cues"] >= auc["embedding"] else ""
    p = [row["p"] for row in _select(rows, "P-M", "MMD²")]
    null = [row["p"] for row in _select(rows, "P-P'", "MMD²")]
    return [
        f"{name}: {lead}median AUC between sample and reference: {shown}. MMD p: median {np.median(p):.3g} (P-M), "
        f"{np.median(null):.3g} (P-P')."
    ]


def _tests_table(name: str, rows: list[dict[str, Any]], member: Gathered) -> Table:
    places = list(dict.fromkeys((row["representation"], row["test"], row["class"]) for row in rows))
    table = []
    for kind, test, value in places:
        for pair in ("P-M", "P-P'"):
            found = [
                row
                for row in rows
                if (row["representation"], row["test"], row["class"], row["pair"]) == (kind, test, value, pair)
            ]
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
        "rejections are false. Permutation p-values cannot fall below 1/(R + 1).",
        keys=[member.artifact.key],
        command=member.command,
    )


def _pictures(name: str, artifact: Artifact) -> list[Picture]:
    arrays, metrics = artifact.arrays("scores.safetensors"), artifact.metrics
    sizes = (len(arrays["reference"]), len(arrays["sample"]))
    scores = PooledScores(arrays["reference"], arrays["sample"], arrays["explained_variance"])
    labels = (arrays["reference_labels"], arrays["sample_labels"])
    ks, null = (
        TestResult("KS", max(d["distance"]), 1.0, sizes, 0, 0.0, d) for d in (metrics["ks"], metrics["ks_null"])
    )
    shown: list[tuple[Figure, str, str]] = [
        (
            pooled_pca_figure(scores, ks, names=("P", "M"), labels=labels if metrics["labelled"] else None),
            "pooled principal components of the first draw; the pair on the right differs most",
            "Scatter of both samples on principal components",
        ),
        (
            map_figure(arrays["map"][: sizes[0]], arrays["map"][sizes[0] :], names=("P", "M")),
            "t-SNE map of the pooled embeddings of the first draw; distances between clusters mean little",
            "t-SNE map of both samples",
        ),
        (ks_figure(ks, null), "KS distance by pooled component", "KS distance by component"),
        (
            calibration_figure(_calibrations(artifact)),
            "level of every test over pairs of draws from the reference alone; grey: 99 % binomial band",
            "Null rejections and p-values",
        ),
        (
            cue_figure(
                {row["source"]: {cue: row[cue] for cue in CUES} for row in artifact.table("cues.parquet").to_pylist()}
            ),
            "surface cues of all cleaned rows",
            "Rates of surface cues",
        ),
    ]
    if artifact.has("power.parquet"):
        power = power_figure(artifact.table("power.parquet").to_pylist())
        shown.append((power, "power by rows a side, exact 95 % intervals", "Power by sample size"))
    if artifact.has("probes.parquet"):
        probes = probe_matrix_figure(artifact.table("probes.parquet").to_pylist())
        shown.append((probes, "probes by training source and size, median and range over redraws", "Probe matrix"))
    return [Picture(figure, f"{name}: {caption}.", alt) for figure, caption, alt in shown]


def _calibrations(artifact: Artifact) -> dict[str, Calibration]:
    rows = artifact.table("calibration.parquet").to_pylist()
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


def _verdicts(name: str, rows: list[dict[str, Any]], artifact: Artifact) -> list[Verdict]:
    mmd, null = (_select(rows, pair, "MMD²") for pair in ("P-M", "P-P'"))
    reject = [row["p"] <= ALPHA for row in mmd]
    false = sum(row["p"] <= ALPHA for row in null)
    allowed = int(stats.binom.ppf(0.99, len(null), ALPHA))
    enough = mmd[0]["smallest_p"] <= ALPHA
    decided = UNDECIDED
    if enough and false <= allowed and len(reject) > 1:
        decided = REPRODUCED if all(reject) else NOT_REPRODUCED if not any(reject) else UNDECIDED
    verdicts = [
        Verdict(
            f"{name}: S1/S2: the sample is not a draw from the reference",
            decided,
            f"MMD rejects at 5 % in {sum(reject)} of {len(reject)} draws (P-M) and {false} of {len(null)} (P-P'); "
            f"smallest possible p {mmd[0]['smallest_p']:.3g}.",
            "M visibly displaced; P-P' at the nominal level",
            "published (no digits); test derived",
        )
    ]
    if artifact.has("probes.parquet"):
        verdicts.append(_probe_verdict(name, artifact.table("probes.parquet").to_pylist()))
    if artifact.has("power.parquet"):
        verdicts += _power_verdict(name, artifact.table("power.parquet").to_pylist())
    return verdicts


def _probe_verdict(name: str, rows: list[dict[str, Any]]) -> Verdict:
    p_size = max(row["size"] for row in rows if row["train"] == "P")
    m_size = max(row["size"] for row in rows if row["train"] == "M")
    claim = f"{name}: S3: a probe on {m_size} rows of M beats one on {p_size} rows of P, on held-out M"
    if len({row["redraw"] for row in rows}) < 2:
        return Verdict(claim, UNDECIDED, "one redraw only.", "M-probe ahead", "derived")
    gap = paired_difference(rows, ("M", m_size), ("P", p_size), score="balanced_accuracy")
    decided = UNDECIDED if not gap.wins else REPRODUCED if gap.mean > 0 else NOT_REPRODUCED
    evidence = (
        f"difference of balanced accuracy {100 * gap.mean:.1f} points, corrected 95 % interval "
        f"[{100 * gap.low:.1f}, {100 * gap.high:.1f}], {gap.redraws} paired redraws."
    )
    return Verdict(claim, decided, evidence, "M-probe of about 250 rows beats P-probe of 2,400", "derived")


def _power_verdict(name: str, rows: list[dict[str, Any]]) -> list[Verdict]:
    found = [row for row in rows if row["test"] == "MMD²" and row["size"] == 20]
    if not found:
        return []
    row = found[0]
    decided = REPRODUCED if row["low"] >= 0.7 else NOT_REPRODUCED if row["high"] < 0.7 else UNDECIDED
    evidence = (
        f"power {row['rate']:.2f}, exact 95 % interval [{row['low']:.2f}, {row['high']:.2f}], {row['repeats']} draws."
    )
    return [
        Verdict(f"{name}: S5: MMD has power of at least 0.7 at 20 rows a side", decided, evidence, "≥ 0.7", "derived")
    ]
