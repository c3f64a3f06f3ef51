"""Labelled images as people have them: YOLO, Pascal VOC, Roboflow's and our own COCO layouts, found by looking and
read into COCO's form. Opening a data set lists files and decodes no image.

Face: `detect.find`, `detect.open_source`, `source.Source`.
"""
