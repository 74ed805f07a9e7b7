"""Starts and stops the processes of the demo."""

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
"""Seconds until the first line of output; Python starts slowly on a busy machine."""
_OURS: Final = "APPROVAL_PROXY"


class DemoProcess:
    """One process; its standard error is a log file in the folder, its standard output a pipe."""

    def __init__(self, name: str, running: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._running = running

    @classmethod
    async def start(
        cls,
        name: str,
        *arguments: str,
        folder: DemoFolder,
        secrets: Mapping[str, str] | None = None,
    ) -> Self:
        """Start `python -m ...` in a new session, so that Ctrl-C reaches only the demo.

        The process does not inherit settings of the proxy from the environment, only its file.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        log = folder.log(name)
        with log.open("ab") as errors:
            running = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-P", "-m", *arguments),  # -P: a folder named `proxy` here must not come first
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
    def has_ended(self) -> bool:
        """True if the process has ended."""
        return self._running.returncode is not None

    async def first_line(self) -> bytes:
        """Return the first line of its output.

        Raises:
            ConfigurationError: the process ended before that, or took too long.
        """
        assert self._running.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(self._running.stdout.readline(), _FIRST_LINE)
        if not line:
            raise self.failed_to_start()
        return line

    def failed_to_start(self) -> ConfigurationError:
        """Return an error with the end of the log."""
        last = self.log.read_text(errors="replace").splitlines()[-10:]
        reason = "\n".join([f"The end of {self.log}:", *last]) if last else f"{self.log} is empty."
        return ConfigurationError(f"{self.name} did not start. {reason}")

    async def kill(self) -> None:
        """Kill the process with SIGKILL, as in a crash."""
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(signal.SIGKILL)
        await self._running.wait()

    async def stop(self, within: float) -> None:
        """Stop the process with SIGTERM; kill it if it has not ended within some seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._running.terminate()
        try:
            await asyncio.wait_for(self._running.wait(), within)
        except TimeoutError:
            await self.kill()
