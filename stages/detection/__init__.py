"""Preprocessing, NMS, COCO: one copy for every backend."""
