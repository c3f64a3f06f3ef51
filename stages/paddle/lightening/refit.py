"""What remains takes over: the weights that read removed channels are given to channels that say the same.

A removed channel is predicted from those that stay, linearly and position by position: x_removed = A x_kept + b by
least squares over images. Then W_removed x_removed becomes a change of W_kept and of the bias, exactly so for every tap
of the kernel but where zeros pad the border. Choosing weights behind removed channels by least squares is He et al.'s
(2017, arXiv:1707.06168); predicting channels instead of outputs makes the kernel's size matter nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.paddle.lightening.channel_groups import Channels
from stages.paddle.lightening.selection import Kept
from stages.paddle.lightening.statistics import Moments

Array = npt.NDArray[Any]


def refit(
    channels: Channels,
    kept: Kept,
    values: Mapping[str, Array],
    moments: Mapping[str, Moments],
    ridge: float = 1e-3,
) -> dict[str, Array]:
    """Parameters that change, in the shapes of the whole model: what is removed of them is removed afterwards.

    Args:
        values: weights and biases of all convolutions.
        moments: of what they read.
        ridge: added to the variances, relative to their mean; images are few, and channels repeat each other.
    """
    changed: dict[str, Array] = {}
    uses = [one.weight for one in channels.convolutions]
    for one in channels.convolutions:
        stays = kept[one.reads]
        if one.depthwise or stays.all() or uses.count(one.weight) > 1:
            continue
        own = moments[one.source]
        slopes, offsets = _prediction(own, stays, ridge)
        weight = values[one.weight].astype(np.float64)
        removed = weight[:, ~stays]
        weight[:, stays] += np.einsum("orhw,rk->okhw", removed, slopes)
        changed[one.weight] = weight.astype(np.float32)
        if one.bias:
            bias = changed.get(one.bias, values[one.bias]).astype(np.float64)
            bias += one.bias_sign * np.einsum("orhw,r->o", removed, offsets)
            changed[one.bias] = bias.astype(np.float32)
    return changed


def _prediction(own: Moments, stays: Kept, ridge: float) -> tuple[Array, Array]:
    """(A [removed, kept], b [removed])."""
    covariance = own.covariance
    among = covariance[np.ix_(stays, stays)]
    scale = max(float(np.trace(among)) / len(among), 1e-12)
    slopes = np.linalg.solve(among + ridge * scale * np.eye(len(among)), covariance[np.ix_(stays, ~stays)]).T
    return slopes, own.mean[~stays] - slopes @ own.mean[stays]
