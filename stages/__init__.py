"""The work on a model, one step a folder: data, training, export, distillation, mixed precision, build, latency,
accuracy, agreement, report. Knows no Hydra, no MLflow and no pipelines.

A stage is a class (`contract.Stage`) that makes an artifact (`artifacts.Artifact`) from options and other artifacts;
`catalog` lists them all.
"""
