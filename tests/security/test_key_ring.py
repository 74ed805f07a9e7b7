import base64
import subprocess
import sys

import pytest

from proxy.errors import ConfigurationError
from proxy.security.key_ring import KeyRing, new_key, read_key

OLD = ("2025", b"o" * 32)
NEW = ("2026", b"n" * 32)
NAME = "ap:token:{abc}"


def test_a_sealed_value_opens_under_its_name() -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal(b"canary", name=NAME)
    assert ring.open(sealed, name=NAME) == b"canary"
    assert b"canary" not in sealed
    assert ring.seal(b"canary", name=NAME) != sealed


def test_no_nonce_is_used_twice() -> None:
    ring = KeyRing([NEW])
    sealed = [ring.seal(b"canary", name=NAME) for _ in range(1_000)]
    assert len(set(sealed)) == len(sealed)


FORK = """
import os
from proxy.security.key_ring import KeyRing
ring = KeyRing([("2026", bytes(32))])
ring.seal(b"canary", name="here")
if child := os.fork():
    os.waitpid(child, 0)
print(ring.seal(b"canary", name="here").decode(), flush=True)
"""


def test_a_forked_process_generates_its_own_nonces() -> None:
    child = subprocess.run([sys.executable, "-c", FORK], check=True, capture_output=True, text=True)
    assert len(set(child.stdout.split())) == 2


def test_the_first_key_encrypts_and_every_key_decrypts() -> None:
    sealed = KeyRing([OLD]).seal(b"canary", name=NAME)
    ring = KeyRing([NEW, OLD])
    assert ring.open(sealed, name=NAME) == b"canary"
    assert ring.seal(b"canary", name=NAME).startswith(b"2026.")


def test_a_value_moved_to_another_name_does_not_open() -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal(b"canary", name=NAME)
    with pytest.raises(ConfigurationError, match="2026"):
        ring.open(sealed, name="ap:token:{abd}")


def test_no_bit_can_be_changed() -> None:
    ring = KeyRing([NEW, OLD])
    sealed = ring.seal(b"canary", name=NAME)
    name, _, text = sealed.partition(b".")
    whole = base64.urlsafe_b64decode(text)
    for bit in range(len(whole) * 8):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ConfigurationError, match="2026"):
            ring.open(name + b"." + base64.urlsafe_b64encode(changed), name=NAME)


def test_a_value_with_the_id_of_another_key_does_not_open() -> None:
    ring = KeyRing([NEW, ("2025", NEW[1])])  # even where the key is the same
    sealed = ring.seal(b"canary", name=NAME)
    with pytest.raises(ConfigurationError, match="2025"):
        ring.open(b"2025" + sealed[4:], name=NAME)


@pytest.mark.parametrize(
    ("sealed", "message"),
    [
        (b"2024.AAAA", "2024"),
        (b"2026.", "2026"),
        (b"2026.AAAA", "2026"),
        (b"2026.A\xff*", "2026"),
        (b"plain", "plain"),
        (b"", "not an encrypted value"),
        (b"\xff\xfe.x", "not an encrypted value"),
    ],
)
def test_a_value_that_does_not_open_is_named(sealed: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        KeyRing([NEW]).open(sealed, name=NAME)
    assert NAME in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [[], [("a b", b"k" * 32)], [("", b"k" * 32)], [("a", b"k" * 31)], [NEW, NEW]],
    ids=["none", "blank", "nameless", "short", "twice"],
)
def test_unusable_keys_are_refused(keys: list[tuple[str, bytes]]) -> None:
    with pytest.raises(ConfigurationError, match="encryption"):
        KeyRing(keys)


def test_a_new_key_can_be_read() -> None:
    assert len(read_key(f" {new_key()}\n")) == 32
    assert new_key() != new_key()


@pytest.mark.parametrize("text", ["", "canary", "Y2FuYXJ5", "ü" * 44])
def test_a_text_that_is_not_a_key_is_not_quoted(text: str) -> None:
    with pytest.raises(ConfigurationError, match="32 random bytes") as caught:
        read_key(text)
    assert not text or text not in str(caught.value)
