"""Reports of a replay: a page, a table for a pull request, a folder of plots."""

from __future__ import annotations

from simulator.reports.given import LivesInput, PolicyInput, ReportInput
from simulator.reports.lives import html as lives_html
from simulator.reports.lives import markdown as lives_markdown
from simulator.reports.page import html
from simulator.reports.plots import png
from simulator.reports.table import markdown

__all__ = [
    "LivesInput",
    "PolicyInput",
    "ReportInput",
    "html",
    "lives_html",
    "lives_markdown",
    "markdown",
    "png",
]
