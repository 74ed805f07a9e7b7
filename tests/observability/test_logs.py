"""Log lines: JSON that nobody can forge, ids on every line, and callers that never wait."""

import io
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from typing_extensions import override

from proxy.observability import logs
from proxy.observability.alarms import Alarm, Alarms
from proxy.observability.metrics import Metrics


class Stream(io.BytesIO):
    """A stream that says when it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    @override
    def flush(self) -> None:
        super().flush()
        if self.getbuffer().nbytes:
            self.written.set()

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def lines(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> Iterator[logs.Lines]:
    for switch in ("logThreads", "logProcesses", "logMultiprocessing"):
        monkeypatch.setattr(logging, switch, True)  # and back, whatever `setup` makes of it
    root, own = logging.getLogger(), logging.getLogger("proxy")
    before = root.handlers[:], root.level, own.level
    root.handlers.clear()
    lines = logs.setup("info", stream)
    yield lines
    lines.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def test_a_line_is_json_with_time_level_ids_and_extras(stream: Stream, lines: logs.Lines) -> None:
    with logs.about(correlation="ar1", request="r1"):
        logging.getLogger("proxy.flow").info("read %s", "INC1", extra={"ticket": "INC1"})
    logging.getLogger("proxy.flow").info("outside")
    lines.close()
    first, second = stream.lines()
    assert first.pop("time").endswith("Z")
    assert first == {
        "level": "info",
        "logger": "proxy.flow",
        "message": "read INC1",
        "correlation_id": "ar1",
        "request_id": "r1",
        "ticket": "INC1",
    }
    assert "correlation_id" not in second


def mixed(*names: str) -> int:
    """Return how many lines were torn when two wrote to a pipe that is full most of the time."""
    reading, writing = os.pipe()
    writers = [logs.Lines(os.fdopen(os.dup(writing), "wb", buffering=0), name) for name in names]
    os.close(writing)
    for writer in writers:
        with writer._queue:  # both have all their lines before they write the first
            writer._waiting += [writer.formatter.line(_long_record()) for _ in range(300)]
        writer._some.set()
        writer._urgent.set()
    closing = [threading.Thread(target=_closed, args=(writer,)) for writer in writers]
    for thread in closing:
        thread.start()
    text = b"".join(iter(lambda: os.read(reading, 4096), b""))
    for thread in closing:
        thread.join(10)
    os.close(reading)
    assert text.count(b"x" * 10) > 0
    return sum(not _is_whole(line) for line in text.splitlines())


def _long_record() -> logging.LogRecord:
    return logging.makeLogRecord({"name": "proxy", "msg": "x" * 900, "levelno": logging.INFO})


def _closed(lines: logs.Lines) -> None:
    lines.close()
    lines._stream.close()


def _is_whole(line: bytes) -> bool:
    try:
        return bool(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False


def test_lines_of_several_processes_do_not_mix() -> None:
    assert mixed("main", "worker-1") == 0


def test_lines_would_mix_if_each_wrote_as_much_as_it_has() -> None:
    """A control of the test before: without a name, a process takes the stream for its own."""
    assert mixed("", "") > 0


def test_a_line_says_which_of_several_processes_wrote_it(stream: Stream) -> None:
    lines = logs.Lines(stream, "worker-1")
    lines.emit(_long_record())
    lines.note("proxy", "without one", {})
    lines.close()
    assert [line["process"] for line in stream.lines()] == ["worker-1", "worker-1"]


@pytest.mark.parametrize(
    "evil",
    ['a\n{"level":"error"}', "\x1b[31m", "\ud800", '"}', "\u2028"],
    ids=["newline", "escape", "surrogate", "quote", "separator"],
)
def test_whatever_is_logged_stays_one_line(stream: Stream, lines: logs.Lines, evil: str) -> None:
    # handed over directly: pytest would keep a copy that its processes cannot exchange
    fields = {"name": "proxy", "levelno": logging.INFO, "levelname": "INFO", "msg": evil}
    lines.handle(logging.makeLogRecord({**fields, "big": 2**70, "odd": {1: object}}))
    lines.close()
    assert stream.getvalue().count(b"\n") == 1
    (line,) = stream.lines()
    assert line["level"] == "info"
    assert "big" in line


def test_an_exception_is_part_of_its_line(stream: Stream, lines: logs.Lines) -> None:
    try:
        int("broken")
    except ValueError:
        logging.getLogger("proxy").exception("failed")
    lines.close()
    (line,) = stream.lines()
    assert "ValueError: invalid literal" in line["exception"]


def test_levels_are_ours_for_our_loggers_and_warning_for_others(
    stream: Stream, lines: logs.Lines
) -> None:
    logging.getLogger("proxy.x").debug("no")
    logging.getLogger("proxy.x").info("yes")
    logging.getLogger("library").info("no")
    logging.getLogger("library").warning("yes")
    lines.close()
    assert [line["message"] for line in stream.lines()] == ["yes", "yes"]


@pytest.mark.usefixtures("lines")
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_line_is_written_without_another_one_after_it(stream: Stream, level: int) -> None:
    logging.getLogger("proxy").log(level, "alone")
    assert stream.written.wait(5)
    assert stream.lines()[0]["message"] == "alone"


def test_a_reader_that_stalls_holds_up_nobody_and_learns_what_it_missed() -> None:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "wb", buffering=0)
    lines = logs.Lines(stream)
    record = logging.makeLogRecord({"name": "proxy", "msg": "x" * 100_000, "levelno": 30})
    for _ in range(200):  # 20 MB into a pipe that nobody reads
        lines.handle(record)
    drained: list[bytes] = []
    reader = threading.Thread(
        target=lambda: drained.extend(iter(lambda: os.read(reading, 65536), b""))
    )
    reader.start()
    lines.close()
    stream.close()
    reader.join(10)
    os.close(reading)
    written = [orjson.loads(line) for line in b"".join(drained).splitlines()]
    missed = [line["lines"] for line in written if "were dropped" in line["message"]]
    assert missed
    assert len(written) - len(missed) + sum(missed) == 200


def test_nobody_reading_any_more_ends_no_program() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "wb", buffering=0)
    lines = logs.Lines(stream)
    lines.handle(logging.makeLogRecord({"name": "proxy", "msg": "x", "levelno": 30}))
    lines.close()
    stream.close()


def test_an_alarm_is_one_line_with_a_stable_code_and_one_count(
    stream: Stream, lines: logs.Lines
) -> None:
    metrics = Metrics()
    Alarms(metrics).sound(
        Alarm.SEVERAL_TICKETS, "Two tickets", correlation_id="ar1", tickets=["A", "B"]
    )
    lines.close()
    (line,) = stream.lines()
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "logger": "proxy.alarms",
        "message": "Two tickets",
        "alarm": "several_tickets",
        "correlation_id": "ar1",
        "tickets": ["A", "B"],
    }
    value = metrics.registry.get_sample_value
    assert value("approval_proxy_alarms_total", {"alarm": "several_tickets"}) == 1
    assert value("approval_proxy_alarms_total", {"alarm": "request_dead"}) == 0


@pytest.mark.parametrize(
    "hostile",
    [
        '\n{"level":"error"}',
        "\r\x1b[2J\x1b]0;title\x07",
        "\x7f\x80\x9b31m\x9d",
        "\u2028\u2029\u0085",
        "user\u202etxt.exe\u2066\u2069\u200f\u061c",
        "in\u200bvisible\ufeff\u2060",
    ],
)
def test_nothing_in_a_line_reaches_a_terminal_or_an_eye_as_something_else(
    hostile: str, stream: Stream
) -> None:
    lines = logs.Lines(stream)
    record = logging.LogRecord("proxy", logging.INFO, "", 0, "%s", (hostile,), None)
    record.__dict__["field"] = hostile
    lines.emit(record)
    lines.note("proxy.access", hostile, {"path": hostile})
    lines.close()
    text = stream.getvalue().decode()
    assert all(line.isprintable() for line in text.split("\n"))
    first, second = stream.lines()
    assert (first["message"], first["field"]) == (hostile, hostile)  # and nothing is lost
    assert (second["message"], second["path"]) == (hostile, hostile)


def test_other_languages_stay_readable(stream: Stream) -> None:
    lines = logs.Lines(stream)
    lines.note("proxy", "Größe, 日本語, emoji 🙂", {})
    lines.close()
    assert "Größe, 日本語, emoji 🙂".encode() in stream.getvalue()
