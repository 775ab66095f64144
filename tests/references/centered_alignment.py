"""Unbiased HSIC by its definition as a mean over four distinct examples, and CKA from it (Song et al., JMLR 2012)."""

from itertools import permutations

import numpy as np


def unbiased_hsic(x, y):
    """Mean of k_ij (l_ij + l_qr - 2 l_iq) over all ordered quadruples i, j, q, r of distinct examples."""
    k, m = (features @ features.T for features in (np.asarray(x, np.float64), np.asarray(y, np.float64)))
    terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
    return sum(terms) / len(terms)


def unbiased_cka(x, y):
    """HSIC of both over the root of that of each with itself."""
    return unbiased_hsic(x, y) / (unbiased_hsic(x, x) * unbiased_hsic(y, y)) ** 0.5
