"""PACT's clipping of activations in two operators instead of PaddleSlim's six.

Values, gradients, the threshold's name and its decay are PaddleSlim's (``paddleslim.quant.quanter.pact``), where each
of the six operators passes over an activation, and each of their gradients again.
"""

from __future__ import annotations

from typing import Any

import paddle

START = 20.0  # of a threshold, before the ranges are observed
DECAY = 1e-4


def clip(x: Any) -> Any:
    """``x`` clipped to [-u, u], with a trainable threshold u of shape [1] called ``x.name + "_pact"``.

    Source: J. Choi et al., "PACT: Parameterized clipping activation for quantized neural networks" (2018,
    arXiv:1805.06085), section 3; there the lower end is 0, here both ends are clipped.
    """
    threshold = paddle.create_parameter(
        shape=[1],
        dtype="float32",
        attr=paddle.ParamAttr(
            name=x.name + "_pact",
            initializer=paddle.nn.initializer.Constant(START),
            regularizer=paddle.regularizer.L2Decay(DECAY),
        ),
    )
    # The threshold comes first: where it equals x, Paddle gives the gradient to the second argument, as PaddleSlim
    return paddle.minimum(threshold, paddle.maximum(-threshold, x))
