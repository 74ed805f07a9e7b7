"""`approval-proxy keys new`: a key for a client, for encryption or signing, and its settings."""

from datetime import UTC, date, datetime
from typing import Final

import click

from proxy.cli.options import Parsed
from proxy.web.auth import hash_key, new_key

_CLIENT: Final = """\
Key for {name}, shown only once (send it as `X-API-Key: <key>` or `Authorization: Bearer <key>`):
{key}

For the settings, under witboost.<instance>.clients or operators.clients:
{name}: {{keys: [{entry}]}}"""

_ENCRYPTION: Final = """\
Key that encrypts tokens and payloads in the store, shown only once. With this key and the store,
anybody can read them: keep it in a secret store, and a copy in a safe place.
{key}

For the settings. A new key goes first, and the previous ones stay below it. With a redis_url,
index_key is another such key: requests are looked up by it, so it changes only by `store export`
and `store import`.
encryption:
  keys:
    - {{id: key1, key: {{file: /run/secrets/encryption-key}}}}"""

_SIGNING: Final = """\
Key that signs the audit and decision receipts, shown only once. With this key, anybody can forge
them: keep it in a secret store.
{key}

For the settings. A new key goes first; remove the previous ones once it has signed.
signing:
  keys:
    - {{file: /run/secrets/signing-key.json}}"""


@click.group()
def keys() -> None:
    """Make keys for clients, operators, encryption and signing."""


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day such as 2027-01-31") from None
    if day < datetime.now(UTC).date():
        raise ValueError(f"{day} has passed, so the key would be refused: name a later day")
    return day


@keys.command()
@click.option("--name", help="The client or operator who will use the key (default: client).")
@click.option(
    "--expires",
    type=Parsed(_day, "DATE"),
    help="The last day on which the key is accepted, such as 2027-01-31.",
)
@click.option("--encryption", is_flag=True, help="Make a key that encrypts the store instead.")
@click.option("--signing", is_flag=True, help="Make a key that signs audit and receipts instead.")
def new(name: str | None, expires: date | None, *, encryption: bool, signing: bool) -> int:
    """Print a new key, which is stored nowhere, and its hash for the settings."""
    if encryption and signing:
        raise click.UsageError("--encryption and --signing are two keys: make one after the other.")
    if (encryption or signing) and (name is not None or expires is not None):
        raise click.UsageError(
            "--name and --expires belong to keys of clients: omit them with"
            f" {'--encryption' if encryption else '--signing'}."
        )
    if encryption:
        from proxy.security import key_ring  # noqa: PLC0415 - only this key needs cryptography

        click.echo(_ENCRYPTION.format(key=key_ring.new_key()))
    elif signing:
        from proxy.security.signing import new_signing_key  # noqa: PLC0415 - only this key needs joserfc

        click.echo(_SIGNING.format(key=new_signing_key()))
    else:
        key = new_key()
        entry = f'"{hash_key(key)}"'
        if expires is not None:
            entry = f"{{hash: {entry}, expires: {expires}}}"
        click.echo(_CLIENT.format(name=name or "client", key=key, entry=entry))
    return 0
