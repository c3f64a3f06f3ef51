"""Paddle Inference: engines built, lowered and opened."""
