"""How much each channel matters: the criteria by which the least important ones are removed.

Each gives a score for every number of ``channel_groups.Channels``; what is written by no convolution gets zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.paddle.lightening.channel_groups import Channels, Convolution
from stages.paddle.lightening.statistics import Moments

Array = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]
"""Number of a channel -> its score; scores of channels that are removed together add up."""

_SMALLEST = 1e-12


def by_magnitude(channels: Channels, weights: Mapping[str, Array]) -> Scores:
    """L2 norm of the weights that write a channel over the mean norm of their layer, averaged over its layers.

    L1 and L2 norms are the base of structured pruning (Li et al. 2017, arXiv:1608.08710); dividing by the layer's mean
    makes layers comparable.
    """
    total, layers = np.zeros(channels.count), np.zeros(channels.count)
    for one in channels.convolutions:
        norms = np.sqrt(np.square(weights[one.weight].astype(np.float64)).sum(axis=(1, 2, 3)))
        np.add.at(total, one.writes, norms / max(float(norms.mean()), _SMALLEST))
        np.add.at(layers, one.writes, 1.0)
    return np.asarray(total / np.maximum(layers, 1.0))


def by_activation(channels: Channels, weights: Mapping[str, Array], moments: Mapping[str, Moments]) -> Scores:
    """The share of what the reading convolutions compute that goes wrong without a channel, added over these.

    A removed channel is replaced by what the others say of it (see ``refit``), so what goes wrong is its variance that
    they do not explain, times the squared weights that read it; the share is of the variance of the convolution's
    output. For one channel at a time; several explain each other.

    Args:
        moments: of what the convolutions read whose input can lose channels (``channel_groups.Channels.sources``).
    """
    total = np.zeros(channels.count)
    for one in channels.convolutions:
        if one.depthwise or one.source not in moments:
            continue
        own = moments[one.source].covariance
        energy = np.square(weights[one.weight].astype(np.float64)).sum(axis=(0, 2, 3))
        wrong = energy * unexplained(own)
        taps = weights[one.weight].astype(np.float64).transpose(2, 3, 0, 1).reshape(-1, len(one.reads))
        whole = float(np.einsum("ic,cd,id->", taps, own, taps, optimize=True))
        np.add.at(total, one.reads, wrong / max(whole, _SMALLEST))
    return total


def unexplained(covariance: Array, ridge: float = 1e-3) -> Array:
    """The variance of each channel that is left when all others predict it linearly: 1 / diagonal of the inverse."""
    size = len(covariance)
    scale = max(float(np.trace(covariance)) / size, _SMALLEST)
    inverse = np.linalg.inv(covariance + ridge * scale * np.eye(size))
    return np.asarray(1.0 / np.maximum(np.diag(inverse), _SMALLEST / scale))


def by_effect(channels: Channels, effects: Mapping[str, Array]) -> Scores:
    """How far the outputs move, to first order, when a channel is faded out wherever it is written; mean square.

    Args:
        effects: tensor that a convolution writes, with its bias -> see ``statistics.find_effects``. Those that compute
            the weights of channel attention are not among them: they fade out with what they multiply.
    """
    images = len(next(iter(effects.values())))
    total = np.zeros((images, channels.count))
    for one in channels.convolutions:
        if one.output in effects:
            for image in range(images):
                np.add.at(total[image], one.writes, effects[one.output][image])
    return np.asarray(np.square(total).mean(axis=0))


def gated(one: Convolution) -> bool:
    """Whether fading out what this convolution writes removes its channels: it writes no weights of attention."""
    return one.positions > 1 and not one.depthwise
