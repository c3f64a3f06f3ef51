"""Quantiles of Student's t distribution, without scipy."""

from __future__ import annotations

_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t distribution, right to 0.001.

    Up to 10 degrees of freedom from a table; above, the first terms of the expansion around the normal distribution's
    quantile z: z + (z^3 + z) / 4n + (5z^5 + 16z^3 + 3z) / 96n^2 + (3z^7 + 19z^5 + 17z^3 - 15z) / 384n^3.

    Source: M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5 and table 26.10.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z, n = 1.959964, freedom
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    return z + (z**3 + z) / (4 * n) + second + third
