"""The listeners, and the limits for callers."""

from typing import Annotated

from pydantic import ByteSize, Field

from proxy.domain.durations import parse_duration
from proxy.settings.types import Duration, Networks, ReadableFile, Section, Size, UrlPath, Word

Port = Annotated[int, Field(ge=0, le=65_535)]


class ServerTls(Section):
    """Our certificate with its chain, and its key, both in PEM; read again when they change.

    With `client_ca_file`, only clients with a certificate of these authorities are listened to.
    """

    certificate: ReadableFile
    key: ReadableFile
    client_ca_file: ReadableFile | None = None


class Listener(Section):
    """One place to listen at."""

    host: Word = "0.0.0.0"  # noqa: S104 - a service in a container listens on all addresses
    port: Port
    tls: ServerTls | None = None


class Listen(Section):
    """The listener of the HTTP API; `path` is one more path for hook calls.

    `events` and `operators` move ticket events, and the operator API with metrics, to listeners of
    their own; then they are nowhere else. `worker_port` is where a process with `--role worker`
    answers `/livez`, `/readyz`, `/metrics`. `trusted_proxies` are believed about whom they call
    for, and about client certificates.
    """

    host: Word = "0.0.0.0"  # noqa: S104 - a service in a container listens on all addresses
    port: Port = 8080
    tls: ServerTls | None = None
    events: Listener | None = None
    operators: Listener | None = None
    worker_port: Port | None = None
    path: UrlPath = "/approval-requests"
    trusted_proxies: Networks = ()


class Limits(Section):
    """The limits for callers: from `slow_from` requests without a ticket on, answers are slower.

    `connections` are those of one listener, `connections_per_client` those of one address that is
    no trusted proxy. A new connection must bring a whole request head within `first_request`, and
    may be `idle` between two.
    """

    body: Annotated[Size, Field(ge=1_024, le=16_777_216)] = ByteSize(262_144)
    depth: Annotated[int, Field(ge=4, le=200)] = 32
    body_deadline: Duration = parse_duration("10s")
    connections: Annotated[int, Field(ge=1)] = 4_096
    connections_per_client: Annotated[int, Field(ge=1)] = 512
    first_request: Duration = parse_duration("10s")
    idle: Duration = parse_duration("75s")
    backlog: Annotated[int, Field(ge=1)] = 100_000
    slow_from: Annotated[int, Field(ge=1)] = 5_000
    slowest: Duration = parse_duration("2s")
