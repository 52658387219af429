"""Reports of a replay or a simulation: a page, a table for a pull request, a folder of plots."""

from __future__ import annotations

from simulator.reports.given import (
    LearnedInput,
    LivesInput,
    PolicyInput,
    ReportInput,
    WorldInput,
)
from simulator.reports.lives import html as lives_html
from simulator.reports.lives import markdown as lives_markdown
from simulator.reports.page import html
from simulator.reports.plots import png
from simulator.reports.table import markdown
from simulator.reports.worlds import html as world_html
from simulator.reports.worlds import markdown as world_markdown

__all__ = [
    "LearnedInput",
    "LivesInput",
    "PolicyInput",
    "ReportInput",
    "WorldInput",
    "html",
    "lives_html",
    "lives_markdown",
    "markdown",
    "png",
    "world_html",
    "world_markdown",
]
