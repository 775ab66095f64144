"""Kendall's τ by name: ours, and the four that the code of arXiv:2305.14585 (pnnl/projection_ntk) computes.

The measures differ in the scalar that is ranked, in the arithmetic and in the points that drop out, so a published
number is compared with the one of its own name only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import expit
from scipy.stats import kendalltau

from analysis.surrogates.faithfulness import confidences, log_odds
from analysis.surrogates.rank_correlations import kendall_tau, rounded_ranks


@dataclass(frozen=True)
class PublishedTau:
    """Kendall's τ_b with the number of values ranked and dropped; ``float`` gives τ."""

    tau: float
    n: int
    dropped: int

    def __float__(self) -> float:
        """Return τ."""
        return self.tau


def tau(network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"]) -> float:
    """Kendall's τ_b of the log-odds of the true class: the default, without a published counterpart.

    No point drops out, since log-odds do not saturate; values that differ by rounding alone are ties.

    Parameters
    ----------
    network, surrogate : ndarray, shape (n, C)
        Unnormalized log-probabilities of the same test points.
    labels : ndarray of int, shape (n,)
        True classes, 0..C-1.

    Returns
    -------
    float
        NaN where a model gives every point the same confidence.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import tau
    >>> network = np.array([[0.0, 2.0], [0.0, -1.0], [0.0, 800.0], [3.0, 0.0]])
    >>> round(tau(network, 2 * network, np.array([1, 0, 1, 0])), 3)
    1.0
    """
    odds = [log_odds(np.asarray(scores, np.float64)) for scores in (network, surrogate)]
    pair = confidences(odds[0], odds[1], labels, "correct")
    return kendall_tau(*map(rounded_ranks, pair))


def tau_published_glm(network: Float[np.ndarray, " n"], surrogate: Float[np.ndarray, " n"]) -> PublishedTau:
    """τ of the kernel GLMs of the four small binary networks (0.7077, 0.8566, 0.7113, 0.8821).

    The source ranks the **positive class of every point**, whatever its label. Network: sigmoid in float32, which is
    exactly 1 from a logit of about 17 on. Surrogate: exp of the machine's logit over its sum over the **test points**,
    in float64. Points at exactly 0 or 1 in either drop out. Where exp overflows the value is NaN, and the source leaves
    the seed out.

    Parameters
    ----------
    network : ndarray, shape (n,)
        The network's logit of the positive class.
    surrogate : ndarray, shape (n,)
        The machine's logit (``decision_function``).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import tau_published_glm
    >>> network = np.array([-30.0, -2.0, 1.0, 3.0, 25.0])  # the last one is 1 in float32
    >>> tau_published_glm(network, 10 * network)
    PublishedTau(tau=1.0, n=4, dropped=1)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        shares = np.exp(np.asarray(surrogate, np.float64))
        shares = shares / shares.sum()
    return _tau_inside(_sigmoid_in_single(network), shares)


def tau_published_svm(network: Float[np.ndarray, " n"], surrogate: Float[np.ndarray, " n"]) -> PublishedTau:
    """τ of the kernel SVMs of the four small binary networks (0.7320, 0.8161, 0.7524, 0.8835).

    The source ranks the **positive class of every point**. Network: sigmoid in float32. Surrogate: Platt's probability
    in float64. Points at exactly 0 or 1 in either drop out.

    Parameters
    ----------
    network : ndarray, shape (n,)
        The network's logit of the positive class.
    surrogate : ndarray, shape (n,)
        The machine's probability of the positive class (``predict_proba``).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import tau_published_svm
    >>> tau_published_svm(np.array([-2.0, 1.0, 3.0, 25.0]), np.array([0.1, 0.6, 0.7, 0.99]))
    PublishedTau(tau=1.0, n=3, dropped=1)
    """
    return _tau_inside(_sigmoid_in_single(network), np.asarray(surrogate, np.float64))


def tau_published_bert(network: Float[np.ndarray, "n 2"], surrogate: Float[np.ndarray, " n"]) -> PublishedTau:
    """τ of the seven kernels of BERT on CoLA (0.8085 for the trNTK).

    The source ranks the **positive class of every point**. Network: softmax in float32. Surrogate: sigmoid of the
    machine's decision in float64. Points at exactly 0 or 1 in either drop out.

    Parameters
    ----------
    network : ndarray, shape (n, 2)
        The network's logits.
    surrogate : ndarray, shape (n,)
        The machine's logit (``decision_function``).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import tau_published_bert
    >>> network = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0], [0.0, 20.0]])
    >>> tau_published_bert(network, np.array([-3.0, 2.0, 1.0, 60.0]))
    PublishedTau(tau=1.0, n=3, dropped=1)
    """
    return _tau_inside(_softmax_in_single(network)[:, 1], expit(np.asarray(surrogate, np.float64)))


def tau_published_poison(network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"]) -> PublishedTau:
    """τ of the poisoned CNN (0.643 clean and 0.569 triggered for the trNTK).

    The source uses **one-hot labels as an index**: of every point it takes the probability of class 0 C - 1 times and
    that of class 1 once, whatever the label is; it passes the triggered labels for both test sets, which changes
    nothing. Network: softmax in float32; surrogate: the machine's probabilities in float64. Values at exactly 0 or 1 in
    either drop out.

    Parameters
    ----------
    network : ndarray, shape (n, C)
        The network's logits.
    surrogate : ndarray, shape (n, C)
        The machine's probabilities (``predict_proba``).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import tau_published_poison
    >>> logits = np.array([[1.0, 0.0, 2.0], [0.0, 2.0, 1.0], [2.0, 1.0, 0.0]])
    >>> probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    >>> found = tau_published_poison(logits, probabilities)
    >>> round(found.tau, 1), found.n
    (0.9, 9)
    """
    picked = [0] * (surrogate.shape[1] - 1) + [1]
    probabilities = np.asarray(surrogate, np.float64)
    return _tau_inside(_softmax_in_single(network)[:, picked].ravel(), probabilities[:, picked].ravel())


def _sigmoid_in_single(logit: np.ndarray) -> np.ndarray:
    return torch.sigmoid(torch.from_numpy(np.array(logit, np.float32))).numpy()


def _softmax_in_single(logits: np.ndarray) -> np.ndarray:
    return torch.softmax(torch.from_numpy(np.array(logits, np.float32)), 1).numpy()


def _tau_inside(network: np.ndarray, surrogate: np.ndarray) -> PublishedTau:
    """Rank what is not exactly 0 or 1 in either; NaN among the surrogate's values makes τ NaN."""
    kept = (network != 0) & (network != 1) & (surrogate != 0) & (surrogate != 1)
    n = int(kept.sum())
    defined = n > 1 and bool(np.isfinite(surrogate).all())
    found = float(kendalltau(network[kept], surrogate[kept]).statistic) if defined else float("nan")
    return PublishedTau(found, n, len(kept) - n)
