"""The papers that studies follow, by their arXiv number."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A publication as a page names it."""

    arxiv: str
    title: str
    authors: str

    @property
    def link(self) -> str:
        """Address of its abstract."""
        return f"https://arxiv.org/abs/{self.arxiv}"


PAPERS = {
    paper.arxiv: paper
    for paper in (
        Paper(
            "2205.12372",
            "TorchNTK: A Library for Calculation of Neural Tangent Kernels of PyTorch Models",
            "Andrew Engel, Zhichao Wang, Anand D. Sarwate, Sutanay Choudhury, Tony Chiang",
        ),
        Paper(
            "2211.06506",
            "Spectral Evolution and Invariance in Linear-width Neural Networks",
            "Zhichao Wang, Andrew Engel, Anand Sarwate, Ioana Dumitriu, Tony Chiang",
        ),
        Paper(
            "2305.14585",
            "Faithful and Efficient Explanations for Neural Networks via Neural Tangent Kernel Surrogate Models",
            "Andrew Engel, Zhichao Wang, Natalie S. Frank, Ioana Dumitriu, Sutanay Choudhury, Anand Sarwate, "
            "Tony Chiang",
        ),
        Paper(
            "2309.15328",
            "Exploring Learned Representations of Neural Networks with Principal Component Analysis",
            "Amit Harlev, Andrew Engel, Panos Stinis, Tony Chiang",
        ),
        Paper(
            "2310.00541",
            "Robust Nonparametric Hypothesis Testing to Understand Variability in Training Neural Networks",
            "Sinjini Banerjee, Reilly Cannon, Tim Marrinan, Tony Chiang, Anand D. Sarwate",
        ),
        Paper(
            "2310.13836",
            "Foundation Model's Embedded Representations May Detect Distribution Shift",
            "Max Vargas, Adam Tsou, Andrew Engel, Tony Chiang",
        ),
        Paper(
            "2310.18612",
            "Efficient kernel surrogates for neural network-based regression",
            "Saad Qadeer, Andrew Engel, Amanda Howard, Adam Tsou, Max Vargas, Panos Stinis, Tony Chiang",
        ),
        Paper(
            "2406.08307",
            "Measuring training variability from stochastic optimization using robust nonparametric testing",
            "Sinjini Banerjee, Tim Marrinan, Reilly Cannon, Tony Chiang, Anand D. Sarwate",
        ),
    )
}
"""Titles and authors as the abstracts' pages give them."""


def papers_of(study: str) -> list[Paper]:
    """List the known papers that ``report.study`` names, in its order.

    Examples
    --------
    >>> [paper.link for paper in papers_of("arXiv 2310.00541 and 2406.08307")]
    ['https://arxiv.org/abs/2310.00541', 'https://arxiv.org/abs/2406.08307']
    """
    return [PAPERS[number] for number in re.findall(r"\d{4}\.\d{5}", study) if number in PAPERS]
