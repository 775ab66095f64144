"""Every study that an experiment follows is named by title, authors and link."""

import re

import pytest
from omegaconf import OmegaConf

from pipeline.engine.cells import CONF
from pipeline.reporting.papers import PAPERS, papers_of

STUDIES = {
    path.stem: str(OmegaConf.select(OmegaConf.load(path), "report.study") or "")
    for path in (CONF / "experiment").glob("*.yaml")
}


@pytest.mark.parametrize("name", sorted(name for name, study in STUDIES.items() if study))
def test_a_study_names_papers_that_are_known(name):
    numbers = re.findall(r"\d{4}\.\d{5}", STUDIES[name])
    assert numbers and [paper.arxiv for paper in papers_of(STUDIES[name])] == numbers


def test_papers_are_complete_and_used():
    used = set(re.findall(r"\d{4}\.\d{5}", " ".join(STUDIES.values())))
    assert used == set(PAPERS)
    for paper in PAPERS.values():
        assert len(paper.title) > 20 and paper.authors.count(",") >= 3
        assert paper.link == f"https://arxiv.org/abs/{paper.arxiv}"
