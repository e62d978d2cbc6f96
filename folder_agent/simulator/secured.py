"""TLS on an accepted connection, whatever its peer has done meanwhile: no descriptor is left behind."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any, Self

_making = threading.local()


class _Known(ssl.SSLSocket):
    """Tells of itself as soon as it exists."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls, *args, **kwargs)
        _making.socket = made
        return made


def secured(context: ssl.SSLContext, connection: socket.socket, *, shakes_hands: bool = True) -> ssl.SSLSocket:
    """The server's end of TLS on `connection`, whose descriptor it takes over. Raises OSError; all is closed then.

    `SSLContext.wrap_socket` alone closes nothing if the peer has reset the connection before (CPython 3.11 to 3.14,
    `SSLSocket._create`): by then the descriptor belongs to an object that nobody but it knows.
    """
    context.sslsocket_class = _Known
    _making.socket = connection
    try:
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=shakes_hands)
    except BaseException:
        _making.socket.close()
        connection.close()
        raise
    finally:
        _making.socket = None
