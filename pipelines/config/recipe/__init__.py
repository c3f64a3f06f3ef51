"""Recipes that were written for other tools, as overrides of ``detpress compress``.

FastDeploy and PaddleSlim's ACT take YAML files of the same sections: ``Global`` (model and images), ``Distillation``,
``QuantAware`` (``Quantization`` before PaddleSlim 2.4), ``PTQ`` or ``QuantPost``, ``TrainConfig``. Each key is either
taken, or said to be what is done anyway, or named with the reason why it is not taken: none is dropped in silence.

Face: `translate.translate`, `overrides.command_line`, `overrides.experiment`.
"""
