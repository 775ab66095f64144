"""Which training points support a decision, by several methods, and how to judge such an attribution."""

from __future__ import annotations

from analysis.attribution.conjugate import conjugate_gradients
from analysis.attribution.decomposition import attribute, attribute_contrast, attribute_layers, sparsity, top_scores
from analysis.attribution.influence import exact_influence, kernel_influence
from analysis.attribution.leave_out import leave_out_effects
from analysis.attribution.masks import rank_mask
from analysis.attribution.optimizer_steps import OptimizerRule
from analysis.attribution.replay import Replay
from analysis.attribution.representer import refit_representer_head, representer_scores
from analysis.attribution.retraining import (
    linear_datamodeling_score,
    noise_ceiling,
    random_subsets,
)
from analysis.attribution.similarity import embedding_scores
from analysis.attribution.smoothness import step_agreement
from analysis.attribution.source import segment_products
from analysis.attribution.spread import spread_scores
from analysis.attribution.text_overlap import bm25_scores
from analysis.attribution.tracin import tracin_scores, tracin_self_influence
from analysis.attribution.trak import TrakNetwork, trak_scores

__all__ = [
    "OptimizerRule",
    "Replay",
    "TrakNetwork",
    "attribute",
    "attribute_contrast",
    "attribute_layers",
    "bm25_scores",
    "conjugate_gradients",
    "embedding_scores",
    "exact_influence",
    "kernel_influence",
    "leave_out_effects",
    "linear_datamodeling_score",
    "noise_ceiling",
    "random_subsets",
    "rank_mask",
    "refit_representer_head",
    "representer_scores",
    "segment_products",
    "sparsity",
    "spread_scores",
    "step_agreement",
    "top_scores",
    "tracin_scores",
    "tracin_self_influence",
    "trak_scores",
]
