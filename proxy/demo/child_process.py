"""The processes of the demo: started here, ended here, by nobody's name but their own id."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from proxy.demo.folder import DemoFolder
from proxy.errors import ConfigurationError

_FIRST_LINE: Final = 30.0
"""Seconds; a busy machine may take long to start Python."""
_OURS: Final = "APPROVAL_PROXY"


class Child:
    """One process; its log is in the folder, its standard output is ours to read."""

    def __init__(self, name: str, running: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._running = running

    @classmethod
    async def start(
        cls, name: str, *words: str, folder: DemoFolder, secrets: Mapping[str, str] | None = None
    ) -> Self:
        """Start `python -m ...` in a session of its own, so that Ctrl-C reaches only the demo.

        Settings of the proxy in our own environment are kept from it: the file is what counts.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        log = folder.log(name)
        with log.open("ab") as errors:
            running = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", *words),  # -P: a folder named `proxy` here must not come first
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env={**kept, **(secrets or {})},
                pass_fds=(folder.lock,),
                start_new_session=True,
            )
        folder.note(running.pid)
        return cls(name, running, log)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._running.returncode is not None

    async def first_line(self) -> bytes:
        """Return the first line it prints.

        Raises:
            ConfigurationError: it ended before, or took too long.
        """
        assert self._running.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(self._running.stdout.readline(), _FIRST_LINE)
        if not line:
            raise self.failed_to_start()
        return line

    def failed_to_start(self) -> ConfigurationError:
        """Return the error that says why, as far as its log tells."""
        last = self.log.read_text(errors="replace").splitlines()[-10:]
        told = "\n".join([f"The end of {self.log}:", *last]) if last else f"{self.log} is empty."
        return ConfigurationError(f"{self.name} did not start. {told}")

    async def kill(self) -> None:
        """End it as a crash does: SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(signal.SIGKILL)
        await self._running.wait()

    async def stop(self, within: float) -> None:
        """End it in good order within some seconds, or else by SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._running.terminate()
        try:
            await asyncio.wait_for(self._running.wait(), within)
        except TimeoutError:
            await self.kill()
