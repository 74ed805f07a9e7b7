"""Alarms: conditions that a person must look at.

Each alarm is a log line with a stable code, a count in the metrics, and a row in the console
(`store.recent_alarms`).
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from proxy.observability.metrics import Metrics

_log: Final = logging.getLogger("proxy.alarms")


class Alarm(StrEnum):
    """The stable codes of alarms; monitoring rules name them, so none changes its meaning."""

    DECISION_CONFLICT = "decision_conflict"
    UNKNOWN_NATIVE_STATUS = "unknown_native_status"
    SEVERAL_TICKETS = "several_tickets"
    TICKET_NOT_AS_WANTED = "ticket_not_as_wanted"
    DESTINATION_PAUSED = "destination_paused"
    DESTINATION_RESUMED = "destination_resumed"
    REQUEST_HELD = "request_held"
    REQUEST_DEAD = "request_dead"
    REQUEST_UNREADABLE = "request_unreadable"
    TICKET_UNREADABLE_AT_DEADLINE = "ticket_unreadable_at_deadline"
    CHANGES_UNREADABLE = "changes_unreadable"
    TICKET_UNTOLD = "ticket_untold"
    STORE_UNREACHABLE = "store_unreachable"
    STORE_DANGEROUS = "store_dangerous"
    AUDIT_STOPPED = "audit_stopped"
    STORE_BEHIND_AUDIT = "store_behind_audit"
    BACKLOG_FULL = "backlog_full"
    WORKER_ENDED = "worker_ended"
    UNEXPECTED_ERROR = "unexpected_error"


@dataclass(frozen=True, slots=True)
class AlarmRecord:
    """One alarm; `at` is its time in milliseconds, by the clock of the log lines."""

    at: int
    alarm: str
    message: str
    correlation_id: str = ""
    destination: str = ""


class Alarms:
    """Sounds alarms; each call is one alarm, so callers call once per occurrence.

    The last record of each code and destination is buffered until `drain` takes it; `sounding` is
    set while there is one.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._buffer: dict[tuple[str, str], AlarmRecord] = {}
        self.sounding = asyncio.Event()
        for alarm in Alarm:  # monitoring rules need a zero for alarms that have not sounded
            metrics.alarms.labels(alarm)

    def sound(
        self,
        alarm: Alarm,
        message: str,
        *,
        correlation_id: str = "",
        destination: str = "",
        **fields: Any,
    ) -> None:
        """Log and count one alarm; the message says what happened and what to do."""
        subjects = {"correlation_id": correlation_id, "destination": destination}
        extra = {"alarm": alarm.value, **{k: v for k, v in subjects.items() if v}, **fields}
        _log.warning("%s", message, extra=extra)
        self._metrics.alarms.labels(alarm).inc()
        at = time.time_ns() // 1_000_000
        self.buffer(AlarmRecord(at, alarm.value, message, correlation_id, destination))

    def buffer(self, record: AlarmRecord) -> None:
        """Keep a record for `drain`, unless there is a later one of its code and destination."""
        key = record.alarm, record.destination
        if key not in self._buffer or self._buffer[key].at <= record.at:
            self._buffer[key] = record
        self.sounding.set()

    def drain(self) -> list[AlarmRecord]:
        """Return the buffered records, the earliest first, and empty the buffer."""
        records = sorted(self._buffer.values(), key=lambda record: record.at)
        self._buffer.clear()
        self.sounding.clear()
        return records
