"""The process between the program and its embedded server: it ends the server when we are gone.

Whatever ends the program (SIGKILL included), the kernel closes the write end of the pipe that is
this process's standard input, and end-of-file here means: stop the server. That works on Linux and
macOS alike, where a parent-death signal would exist on Linux only. The file is run by its path and
imports the standard library alone, so that it starts fast and stays small.
"""

import os
import signal
import subprocess
import sys
import threading

GRACE = 10.0
"""Seconds a server gets to stop by itself before it is killed; nothing is lost by killing it."""


def main(lock: int, command: list[str]) -> int:
    """Run the server until it ends or the program is gone; the exit status is the server's.

    The open file `lock` is handed on to the server: it stays locked as long as one of us lives,
    which tells a later program whether the folder is free.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Only the end of the program ends its guardian. SIG_IGN the server would inherit.
        signal.signal(number, lambda _number, _frame: None)
    server = subprocess.Popen(  # noqa: S603 - the program's own command line
        command, stdin=subprocess.DEVNULL, pass_fds=(lock,)
    )
    threading.Thread(target=_stop_after_program, args=(server,), daemon=True).start()
    return server.wait()


def _stop_after_program(server: subprocess.Popen[bytes]) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass  # the program never writes; only the end of the pipe has a meaning
    server.terminate()
    try:
        server.wait(GRACE)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
