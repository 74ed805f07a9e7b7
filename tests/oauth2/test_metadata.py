"""What an authorization server says of itself, as tables."""

from typing import Any

import orjson
import pytest

from proxy.errors import ConfigurationError
from proxy.oauth2.discovery import Metadata, read_metadata
from proxy.outbound.responses import Response
from tests.oauth2.strict_server import document

HTTPS = "https://as.example.com/realm"


def read(issuer: str, *, mtls: bool = False, **more: Any) -> Metadata:
    body = orjson.dumps(document(issuer) | more)
    return read_metadata(Response(200, {}, body, "GET it"), issuer=issuer, mtls=mtls)


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "http://as.example.com/token",
        "HTTP://as.example.com/token",
        "ftp://as.example.com/token",
        "//as.example.com/token",
        "/token",
        "https:///token",
        "https://[broken/token",
        "javascript:alert(1)",
        5,
        ["https://as.example.com/token"],
    ],
)
def test_endpoints_of_an_https_issuer_are_https(name: str, url: Any) -> None:
    """Checklist 14."""
    with pytest.raises(ConfigurationError, match=f"no usable {name}"):
        read(HTTPS, **{name: url})


@pytest.mark.parametrize("url", [None, ""])
def test_without_a_token_endpoint_a_document_is_of_no_use(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="no usable token_endpoint"):
        read(HTTPS, token_endpoint=url)


def test_an_http_issuer_of_a_laboratory_may_have_http_endpoints() -> None:
    """The negative control: it is the issuer's scheme that counts."""
    assert read("http://127.0.0.1:1").token_endpoint == "http://127.0.0.1:1/token"
    assert read("http://127.0.0.1:1", token_endpoint="https://x/t").token_endpoint == "https://x/t"


ALIAS = {"token_endpoint": "https://mtls.example.com/token"}


@pytest.mark.parametrize(
    ("mtls", "aliases", "endpoint"),
    [
        (True, ALIAS, "https://mtls.example.com/token"),
        (False, ALIAS, f"{HTTPS}/token"),
        (True, None, f"{HTTPS}/token"),
        (True, {"revocation_endpoint": "https://mtls.example.com/r"}, f"{HTTPS}/token"),
        (True, ["https://mtls.example.com/token"], f"{HTTPS}/token"),
    ],
)
def test_mutual_tls_has_endpoints_of_its_own(*, mtls: bool, aliases: Any, endpoint: str) -> None:
    """RFC 8705 5: only who shows a certificate uses them, and only those that are there."""
    assert read(HTTPS, mtls=mtls, mtls_endpoint_aliases=aliases).token_endpoint == endpoint


def test_an_alias_must_be_https_too() -> None:
    with pytest.raises(ConfigurationError, match="no usable token_endpoint"):
        read(HTTPS, mtls=True, mtls_endpoint_aliases={"token_endpoint": "http://mtls.example.com/"})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"token_endpoint_auth_methods_supported": ["a", 5, "b"]}, (("a", "b"), False)),
        ({"token_endpoint_auth_methods_supported": "a"}, ((), False)),
        ({"authorization_response_iss_parameter_supported": True}, ((), True)),
        ({"authorization_response_iss_parameter_supported": "true"}, ((), False)),
    ],
)
def test_what_else_is_said_is_read_strictly(
    more: dict[str, Any], expected: tuple[tuple[str, ...], bool]
) -> None:
    metadata = read(HTTPS, **more)
    assert expected == (
        metadata.token_endpoint_auth_methods_supported,
        metadata.authorization_response_iss_parameter_supported,
    )
