"""API clients in the settings: the keys of witboost instances and of operators, by their hashes."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field

from proxy.settings.types import KeyHash, Name, NotEmpty, Section


class ClientKey(Section):
    """An API key."""

    hash: KeyHash
    """The hash that `approval-proxy keys new` prints; the key itself belongs to the client."""
    expires: AwareDatetime | date | None = None
    """The last day (UTC) or the moment of its end; null: it does not expire."""

    @property
    def until(self) -> int | None:
        """The end of the key in milliseconds since the epoch; a day ends at midnight UTC."""
        if self.expires is None:
            return None
        end = self.expires
        if not isinstance(end, datetime):
            end = datetime.combine(end + timedelta(days=1), time(), UTC)
        return int(end.timestamp() * 1_000)


def _key_of_hash(value: Any) -> Any:
    """Accept a hash alone for a key that does not expire."""
    return {"hash": value} if isinstance(value, str) else value


class Client(Section):
    """A client that may call the proxy."""

    keys: Annotated[tuple[Annotated[ClientKey, BeforeValidator(_key_of_hash)], ...], NotEmpty]
    """Its valid keys; several at once, so that they can be rotated."""


class Operator(Client):
    """A person or a program at the operator API."""

    role: Literal["read", "operate", "admin"] = "operate"
    """`read` sees every request; `operate` also acts on them; `admin` also pauses destinations."""


class Operators(Section):
    """The operators of the API and the console; without clients, nobody is admitted."""

    clients: dict[Name, Operator] = Field(default={})
    """The operators by name; without any, nobody is admitted."""
