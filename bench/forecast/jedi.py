"""JEDi: how far the distribution of generated videos is from that of real ones, in V-JEPA's features.

Luo et al., "Beyond FVD: Enhanced Evaluation Metrics for Video Generation Quality" (ICLR 2025); equations 34
to 36 of the paper. The kernel is (<x, y> / d)^2 over d features, the estimate counts pairs of a sample with
itself, and is given times 100. Features here are those of V-JEPA 2, its authors' of the first V-JEPA: figures
compare with each other, not with theirs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
DEGREE = 2


def polynomial_mmd(
    x: Doubles, y: Doubles, degree: int = DEGREE, offset: float = 0.0, unbiased: bool = False
) -> float:
    """Return the squared maximum mean discrepancy of samples `x` (m, d) and `y` (n, d).

    Kernel (<a, b> / d + offset)^degree (equation 35). The plain estimate is that between the two empirical
    distributions; the `unbiased` one leaves out pairs of a sample with itself and is 0 on average where both
    come from one distribution (Gretton et al., JMLR 13, 2012, equations 3 and 5). ValueError for fewer than
    two samples of either.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError("a discrepancy needs at least two samples of each side")
    within = [_mean_kernel(side, side, degree, offset, unbiased) for side in (x, y)]
    return sum(within) - 2 * _mean_kernel(x, y, degree, offset, unbiased=False)


def jedi(real: Doubles, generated: Doubles) -> float:
    """Return JEDi of features (m, d) and (n, d); lower is better, 0 for the same samples."""
    return 100 * polynomial_mmd(real, generated)


def _mean_kernel(x: Doubles, y: Doubles, degree: int, offset: float, unbiased: bool) -> float:
    kernel = (x @ y.T / x.shape[1] + offset) ** degree
    if not unbiased:
        return float(kernel.mean())
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
