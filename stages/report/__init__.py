"""The results of a run as JSON, Markdown and one HTML page (stage ``report``): rows, tables, gates, figures.

``schema*.py`` say what the JSON files hold, `page.py` fills the pages in, ``templates/`` says how they look.

Face: `report.ReportStage`.
"""
