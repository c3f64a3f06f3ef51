"""The results of a run as JSON, Markdown and one HTML page (stage ``report``): rows, tables, gates, figures.

Face: `report.ReportStage`.
"""
