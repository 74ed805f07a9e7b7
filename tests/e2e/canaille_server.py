# mypy: ignore-errors
"""Canaille on a free port, with clients from its argument; its own interpreter runs this.

Prints the port when it listens, and ends with its standard input.
"""

import datetime as dt
import json
import os
import socket
import sys
import threading

from canaille import create_app
from canaille.app import models
from canaille.app.flask import cache
from canaille.backends import Backend
from werkzeug.serving import make_server


def main() -> None:
    """Serve."""
    given = json.loads(sys.argv[1])
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    port = listening.getsockname()[1]
    app = create_app(
        {
            "SECRET_KEY": "a secret of this run",
            "SERVER_NAME": f"127.0.0.1:{port}",  # without it, assertions of clients are refused
            "PREFERRED_URL_SCHEME": "http",
            "CANAILLE": {"DATABASE": "memory"},
            "CANAILLE_OIDC": {"ACTIVE_JWKS": [given["server_key"]]},
        }
    )
    with app.app_context():
        cache.clear()
        user = models.User(
            user_name=given["user"], formatted_name="Ada", family_name="L", emails=["a@example.com"]
        )
        Backend.instance.save(user)
        # of a trusted domain: its users need not agree to anything
        clients = [models.Client(client_uri="http://127.0.0.1/", **it) for it in given["clients"]]
        for client in clients:
            Backend.instance.save(client)
        for client in clients:
            # who may ask what a token is; and its own, else tokens of one second were all the same
            client.audience = [clients[0], client]
            Backend.instance.save(client)
            login = models.Token(
                token_id=f"login to {client.client_id}",
                access_token=f"of the login to {client.client_id}",
                refresh_token=f"r-{client.client_id}",
                client=client,
                subject=user,
                scope=["profile"],
                type="access_token",
                issue_date=dt.datetime.now(dt.UTC),
                lifetime=3600,
                audience=client.audience,
            )
            Backend.instance.save(login)
    fd = os.dup(listening.fileno())
    server = make_server("127.0.0.1", port, app, threaded=True, fd=fd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    sys.stdin.read()


main()
