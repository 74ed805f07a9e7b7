"""What we write to ask whether a secret is taken is proven, names nothing, and fits one secret."""

from typing import Any, Final

import pytest

from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.probe import empty_event
from proxy.tickets.events.reader import EventReader

NOW: Final = 1_800_000_000_000
WHSEC: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER: Final = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
PLAIN: Final = "a-secret-of-thirty-two-characters"

WAYS: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "hmac": ({"auth": "hmac", "header": "X-Signature"}, PLAIN, "other"),
    "standard webhooks": ({"auth": "standard_webhooks"}, WHSEC, OTHER),
    "jira": ({"auth": "jira"}, PLAIN, "other"),
    "servicenow": ({"auth": "servicenow"}, PLAIN, "other"),
    "zendesk": ({"auth": "zendesk"}, PLAIN, "other"),
    "glpi": ({"auth": "glpi"}, PLAIN, "other"),
    "header": ({"auth": "static_header", "header": "X-Token", "prefix": "T "}, PLAIN, "other"),
    "basic": ({"auth": "basic"}, "user:password", "user:other"),
    "jwt": (
        {"auth": "jwt", "token": {"issuer": "us", "audience": "you"}},
        PLAIN,
        "another-secret-of-32-characters-!",
    ),
}


def events(declared: dict[str, Any]) -> Events:
    return Events.model_validate({"ticket": "ticket.id", **declared})


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_event_is_proven_by_the_secret_that_it_was_written_with(way: str) -> None:
    declared, secret, other = WAYS[way]
    told = events(declared)
    written = empty_event(told, secret.encode(), now=NOW, name="check-1")
    assert written is not None
    headers, body = written
    with pytest.raises(InvalidRequestError, match="names no ticket"):
        EventReader(told, lambda: [secret.encode()]).read(headers, body, now=NOW)
    with pytest.raises(UnauthorizedError):
        EventReader(told, lambda: [other.encode()]).read(headers, body, now=NOW)


@pytest.mark.parametrize(
    ("declared", "secret"),
    [
        (
            {
                "auth": "hmac",
                "header": "X-Signature",
                "algorithm": "ed25519",
                "key_format": "hex",
            },
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        ),
        ({"auth": "hmac", "header": "X-Signature", "sent_at": "meta.sent"}, PLAIN),
        ({"auth": "jwt", "token": {"algorithms": ["RS256"]}}, PLAIN),
    ],
)
def test_what_cannot_be_imitated_is_none(declared: dict[str, Any], secret: str) -> None:
    assert empty_event(events(declared), secret.encode(), now=NOW, name="check-1") is None


def test_a_secret_of_another_form_is_an_error() -> None:
    with pytest.raises(ValueError, match="whsec_"):
        empty_event(events({"auth": "standard_webhooks"}), b"plain", now=NOW, name="check-1")
