"""How events become lines: their level, their time, what is never shown, JSON or a console. The only importer of structlog."""

import logging
import sys
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, Final, TextIO

import structlog

from daemon import errors
from daemon.wire.secret import Secret

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Event = MutableMapping[str, Any]


def _redact(_logger: Any, _method: str, event: Event) -> Event:
    """Second line of defence: a Secret that reaches an event is never shown, however it got there."""
    for key, value in event.items():
        if isinstance(value, Secret):
            event[key] = "***"
    return event


def _plain(_logger: Any, _method: str, event: Event) -> Event:
    """Write times as ISO 8601 and exceptions as one line; leave None out."""
    for key, value in list(event.items()):
        if value is None:
            del event[key]
        elif isinstance(value, datetime):
            event[key] = value.isoformat()
        elif isinstance(value, errors.PostroomError):
            event[key] = f"{type(value).__name__}: {value}"
    return event


def _drop(_logger: Any, _method: str, _event: Event) -> Event:
    raise structlog.DropEvent


def bound(*, log_format: str, level: str, stream: TextIO | None) -> Any:
    """Return a logger that sends events to `stream` (stderr), as `json` lines or for a `console`."""
    out = stream or sys.stderr
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=24)
        if log_format == "console"
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            _plain,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger().bind()


def silent() -> Any:
    """Return a logger that says nothing."""
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    return structlog.get_logger()
