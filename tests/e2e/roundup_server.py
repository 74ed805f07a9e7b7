# mypy: ignore-errors
"""Roundup's classic tracker on a free port; its own interpreter runs this.

An administrator of it added what any use of its API for approvals needs: a field for the
correlation id, two statuses, and accounts. Prints the port, and ends with its standard input.
"""

import io
import sys
import tempfile
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from roundup import init, instance, password
from roundup.cgi.wsgi_handler import RequestDispatcher

FIELD = '    assignedto=Link("user"),\n    correlation=String(),'


class Server(ThreadingMixIn, WSGIServer):
    """The standard library's server, with a thread for each request."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Writes no access log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def install(home: str, port: int) -> None:
    """Make a tracker."""
    template = Path(sys.prefix) / "share" / "roundup" / "templates" / "classic"
    settings = {
        "rdbms_backend": "sqlite",
        "tracker_web": f"http://127.0.0.1:{port}/",
        "mail_domain": "example.com",
        "mail_host": "127.0.0.1",
    }
    init.install(home, str(template), settings=settings)
    schema = Path(home) / "schema.py"
    text = schema.read_text()
    assert text.count('assignedto=Link("user"),') == 1
    schema.write_text(text.replace('assignedto=Link("user"),', FIELD.strip()))
    tracker = instance.open(home)
    tracker.init(password.Password("of the administrator", config=tracker.config))
    db = tracker.open("admin")
    for order, name in enumerate(("approved", "rejected"), 9):
        db.status.create(name=name, order=order)
    for name in ("proxy", "olga"):
        db.user.create(
            username=name,
            password=password.Password(f"{name}-password", config=tracker.config),
            address=f"{name}@example.com",
            roles="User",
        )
    db.commit()
    db.close()


def main() -> None:
    """Serve."""
    with tempfile.TemporaryDirectory() as folder:
        home = str(Path(folder) / "tracker")
        server = make_server("127.0.0.1", 0, None, server_class=Server, handler_class=Quiet)
        port = server.server_address[1]
        install(home, port)
        tracker = RequestDispatcher(home)

        def app(environ: dict, start_response: object) -> object:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
            return tracker(environ, start_response)

        server.set_app(app)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
