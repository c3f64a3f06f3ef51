"""The results of a run as JSON, Markdown and one HTML page (stage ``report``): rows, tables, gates, figures.

``schema*.py`` say what the JSON files hold, ``templates/`` how the pages look.

Face: `report.ReportStage`.
"""
