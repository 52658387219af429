"""Structured logs: one JSON object a line on standard error, or coloured lines on a terminal."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def configure(process: str) -> None:
    """Sets up logging for one process of the service. RANKD_LOG_LEVEL sets the level (default info)."""
    level = os.environ.get("RANKD_LOG_LEVEL", "info").upper()
    render: structlog.typing.Processor
    if sys.stderr.isatty():
        render = structlog.dev.ConsoleRenderer()
    else:
        render = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process, pid=os.getpid())
