"""Quantization with PaddleSlim: student and teacher, ranges, losses, post-training quantization. The loop that
trains lies above (`stages/distillation`): it calls `prepare` and `finish` here, and nothing here calls it.

Face: `qat.prepare`, `qat.finish`, `ptq.quantize`, `mixing.mix`.
"""
