"""What each grant puts into a token request."""

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from proxy.oauth2.client_authentication import Server
from proxy.oauth2.grants import (
    ACCESS_TOKEN,
    AuthorizationCode,
    ClientCredentials,
    Grant,
    JwtBearer,
    RefreshToken,
    TokenExchange,
)
from proxy.security.private_keys import SigningKey

SERVER = Server("https://as.example.com", "https://as.example.com/token", 1_767_225_600_000)
EXCHANGE = TokenExchange(subject_token=lambda: "canary-s")
ACTING = TokenExchange(
    subject_token=lambda: "canary-s",
    subject_token_type="urn:jwt",
    actor_token=lambda: "canary-a",
    actor_token_type="urn:actor",
    requested_token_type="urn:wanted",
)


@pytest.mark.parametrize(
    ("grant", "kind", "fields"),
    [
        (ClientCredentials(), "client_credentials", {}),
        (RefreshToken("canary-r"), "refresh_token", {"refresh_token": "canary-r"}),
        (
            RefreshToken("canary-r", "https://here/cb"),
            "refresh_token",
            {"refresh_token": "canary-r", "redirect_uri": "https://here/cb"},
        ),
        (
            AuthorizationCode("canary-c", "canary-v", "http://127.0.0.1:1/cb"),
            "authorization_code",
            {
                "code": "canary-c",
                "redirect_uri": "http://127.0.0.1:1/cb",
                "code_verifier": "canary-v",
            },
        ),
        (
            EXCHANGE,
            "urn:ietf:params:oauth:grant-type:token-exchange",
            {"subject_token": "canary-s", "subject_token_type": ACCESS_TOKEN},
        ),
        (
            ACTING,
            "urn:ietf:params:oauth:grant-type:token-exchange",
            {
                "subject_token": "canary-s",
                "subject_token_type": "urn:jwt",
                "actor_token": "canary-a",
                "actor_token_type": "urn:actor",
                "requested_token_type": "urn:wanted",
            },
        ),
    ],
)
def test_a_grant_says_what_its_rfc_wants(grant: Grant, kind: str, fields: dict[str, str]) -> None:
    form = grant.form(SERVER)
    assert (grant.grant_type, dict(form.fields), len(form.fields)) == (kind, fields, len(fields))
    assert "canary" not in repr(grant) + repr(form)
    assert set(form.secrets) == {text for text in fields.values() if "canary" in text}


def test_a_jwt_bearer_signs_a_new_assertion_each_time() -> None:
    """Checklist 9: a fresh jti also where the assertion is the grant (RFC 7523 2.1)."""
    key = ECKey.generate_key("P-256")
    grant = JwtBearer(
        key=lambda: SigningKey(key, "ES256", "k1"),
        issuer="client",
        subject="user",
        audience="token_endpoint",
        lifetime=30_000,
        claims={"scp": "x"},
    )
    forms = [grant.form(SERVER) for _ in range(2)]
    tokens = [
        jwt.decode(dict(form.fields)["assertion"], key, algorithms=["ES256"]) for form in forms
    ]
    claims = tokens[0].claims
    assert (claims["iss"], claims["sub"], claims["scp"]) == ("client", "user", "x")
    assert (claims["aud"], claims["exp"] - claims["iat"]) == (SERVER.token_url, 30)
    assert tokens[0].header["kid"] == "k1"
    assert claims["jti"] != tokens[1].claims["jti"]
