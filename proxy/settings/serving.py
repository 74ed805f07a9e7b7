"""Settings of the running program: listeners, limits of clients, workers, retries and log."""

from typing import Annotated, Literal

from pydantic import ByteSize, Field

from proxy.domain.durations import parse_duration
from proxy.settings.types import Duration, Networks, ReadableFile, Section, Size, UrlPath, Word

Port = Annotated[int, Field(ge=0, le=65_535)]


class ServerTls(Section):
    """TLS of a listener; its files are read again when they change."""

    certificate: ReadableFile
    """The certificate with its chain, in PEM."""
    key: ReadableFile
    """Its private key without a passphrase, in PEM."""
    client_ca_file: ReadableFile | None = None
    """Authorities, one of which must have issued a client's certificate; null: none is needed."""


class Listener(Section):
    """One address to listen at."""

    host: Word = "0.0.0.0"  # noqa: S104 - a service in a container listens on all addresses
    """The local address; the default is all of them."""
    port: Port
    """The port; 0: any free one."""
    tls: ServerTls | None = None
    """TLS of this listener; null: plain HTTP."""


class Listen(Section):
    """The listeners of the HTTP API."""

    host: Word = "0.0.0.0"  # noqa: S104 - a service in a container listens on all addresses
    """The local address; the default is all of them."""
    port: Port = 8080
    """The port of hook calls, and of everything that has no listener of its own."""
    tls: ServerTls | None = None
    """TLS of this port; null: plain HTTP."""
    events: Listener | None = None
    """The only listener of ticket events; null: `port` takes them."""
    operators: Listener | None = None
    """The only listener of the operator API, console and metrics; null: `port` serves them."""
    worker_port: Port | None = None
    """The port at which `serve --role worker` serves its health and metrics; null: none."""
    path: UrlPath = "/approval-requests"
    """One more path for hook calls, in addition to `/` and `/approval-requests`."""
    trusted_proxies: Networks = ()
    """Networks of reverse proxies, whose X-Forwarded-For and client certificates are trusted."""


class Limits(Section):
    """Limits of clients, beyond which they are slowed down or refused."""

    body: Annotated[Size, Field(ge=1_024, le=16_777_216)] = ByteSize(262_144)
    """The largest body of a request."""
    depth: Annotated[int, Field(ge=4, le=200)] = 32
    """The deepest nesting of a JSON body."""
    body_deadline: Duration = parse_duration("10s")
    """The time in which a body must arrive."""
    connections: Annotated[int, Field(ge=1)] = 4_096
    """Open connections of one listener."""
    connections_per_client: Annotated[int, Field(ge=1)] = 512
    """Open connections of one address that is not a trusted proxy."""
    first_request: Duration = parse_duration("10s")
    """The time in which a new connection must send the head of a request."""
    idle: Duration = parse_duration("75s")
    """How long a connection may stay open between two requests."""
    backlog: Annotated[int, Field(ge=1)] = 100_000
    """Requests waiting for their tickets, above which hook calls get a 500 with Retry-After."""
    slow_from: Annotated[int, Field(ge=1)] = 5_000
    """Requests waiting for their tickets, above which answers are delayed."""
    slowest: Duration = parse_duration("2s")
    """The longest delay of an answer."""


class Worker(Section):
    """The worker processes: how much they do at once, and how long they own a request."""

    processes: Annotated[int, Field(ge=0, le=64)] = 1
    """Worker processes that `serve` starts; 0: `serve` works itself."""
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Requests worked on at once, by all processes together."""
    lease: Duration = parse_duration("60s")
    """How long a worker owns a request; it exceeds every deadline plus `margin`."""
    margin: Duration = parse_duration("5s")
    """The largest difference of clocks, and the longest pause of a process."""
    stop_within: Duration = parse_duration("20s")
    """The time in which a worker finishes or returns its requests after SIGTERM."""
    changes_every: Duration = parse_duration("30s")
    """The interval at which a ticket system is asked for its changes."""


class Retries(Section):
    """How long, or how often, a failure is retried before a person must look."""

    callback: Duration = parse_duration("3d")
    """How long a callback is tried while witboost is unreachable or answers 5xx."""
    refused_callback: Duration = parse_duration("1h")
    """How long a callback is tried while witboost refuses it."""
    create: Duration = parse_duration("3d")
    """How long a ticket is tried to be created."""
    missing_reads: Annotated[int, Field(ge=1, le=1_000)] = 5
    """Reads in a row that may miss a known ticket before a person must look."""


class Logs(Section):
    """The log: one JSON object per line."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged."""
    access: bool = True
    """`true`: one line for each HTTP call."""
