"""Commands that share a round trip: what is repeated when the connection is lost in the middle."""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from typing_extensions import override

from proxy.errors import StoreUnavailableError
from proxy.store.client.connections import connect
from proxy.store.client.pipeline import Batcher


async def test_a_lost_connection_repeats_only_what_was_not_answered() -> None:
    """The first answer stands: its task went on with it, and must not see another one."""
    seen: list[list[bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names: list[bytes] = []
        seen.append(names)
        while line := await reader.readline():
            if line.strip() in {b"a", b"b"}:
                names.append(line.strip())
                if len(seen) == 1 and names == [b"a", b"b"]:
                    writer.write(b"$5\r\nfirst\r\n")
                    break
                if len(seen) > 1:
                    writer.write(b"$6\r\nsecond\r\n")
            elif line.strip() in {b"HELLO", b"CLIENT"}:
                writer.write(b"+OK\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connect(f"redis://127.0.0.1:{port}?protocol=2&lib_name=&lib_version=")
    batcher = Batcher(client)
    answers = await asyncio.gather(batcher.command("GET", "a"), batcher.command("GET", "b"))
    await batcher.close()
    await client.aclose()
    server.close()
    await server.wait_closed()
    assert list(answers) == [b"first", b"second"]
    assert [names for names in seen if names] == [[b"a", b"b"], [b"b"]]


async def test_whatever_goes_wrong_nobody_waits_for_ever() -> None:
    async with Redis(connection_pool=_Odd()) as client:
        batcher = Batcher(client)
        asked = [batcher.command("GET", "a"), batcher.command("GET", "b")]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, StoreUnavailableError)
            assert "KeyError" in str(answer)


class _Odd(ConnectionPool):
    @override
    async def get_connection(self, *_: Any, **__: Any) -> Any:
        raise KeyError("odd")
