"""Inputs that are nearly right: samples, changed a little, by a seeded source of chance."""

import random
from collections.abc import Sequence
from typing import Final

_TOKENS: Final[Sequence[bytes]] = (
    b"",
    b"\x00",
    b"\r\n",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"\xef\xbc\x8f",
    b"\\",
    b"%",
    b"%2f",
    b"%2e%2e",
    b"%252f",
    b"%00",
    b"/../",
    b"/..;/",
    b"//",
    b"@",
    b"#",
    b"?",
    b":",
    b":443",
    b"[::1]",
    b"127.1",
    b"0x7f.1",
    b"2130706433",
    b"evil.example",
    b".",
    b",",
    b" ",
    b"v1,",
    b"sha256=",
    b"null",
    b"true",
    b"NaN",
    b"-0",
    b"1e999",
    b"123456789012345678901234567890",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b'"respondToUrl"',
    b'"fields"',
    b"\\u0000",
    b"\\ud800",
)


class Mutations:
    """Changes of samples; the same seed gives the same inputs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def of(self, samples: Sequence[bytes]) -> bytes:
        """Return one sample after one to four changes."""
        text = self.random.choice(samples)
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 4))):
            text = self._changed(text, samples)
        return text

    def _changed(self, text: bytes, samples: Sequence[bytes]) -> bytes:
        chance = self.random
        begin = chance.randint(0, len(text))
        end = min(len(text), begin + chance.choice((0, 1, 1, 2, 4, 8, 16)))
        match chance.randrange(6):
            case 0:  # a token in
                return text[:begin] + chance.choice(_TOKENS) + text[begin:]
            case 1:  # a token in place of something
                return text[:begin] + chance.choice(_TOKENS) + text[end:]
            case 2:  # something out
                return text[:begin] + text[end:]
            case 3:  # something twice
                return text[:end] + text[begin:]
            case 4:  # another byte
                return text[:begin] + bytes([chance.randrange(256)]) + text[begin + 1 :]
            case _:  # the end of another sample
                other = chance.choice(samples)
                return text[:begin] + other[chance.randint(0, len(other)) :]
