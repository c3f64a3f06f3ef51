"""The files of an exported detector, read without Paddle: which of a folder's files they are, the program that Paddle 3
writes as JSON, the operators of the older `.pdmodel`, and the parameters of both.

Face: `files.find_export`, `pir.read_program`, `parameters.read_parameters`, `nms.stated_nms`.
"""
