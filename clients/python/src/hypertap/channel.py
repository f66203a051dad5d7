"""The sockets of the command plane: opening one, and reading bytes together with descriptors."""

from __future__ import annotations

import array
import os
import socket
import struct
import time
from typing import List, Tuple, Union

CONTROL_SOCKET = "/run/hypertap/control.sock"
"""Where the daemon's Unix command socket is by default."""

_CHUNK = 64 * 1024
_PAUSE = 0.01  # seconds between two attempts to connect
_MAX_FDS = 8
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)

ControlPath = Union[str, "os.PathLike[str]"]


def open_unix(path: ControlPath, kind: int, timeout: float) -> socket.socket:
    """A connected Unix socket of this kind."""
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        connect_unix(sock, os.fspath(path), timeout)
    except OSError as error:
        sock.close()
        raise _named(error, os.fspath(path)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def connect_unix(sock: socket.socket, path: str, timeout: float) -> None:
    """Connects, and sets the timeout.  Raises TimeoutError where the server does not accept, ValueError, OSError.

    Who connects stands in a queue, and that of a server that hangs is full.  To wait for room in it the kernel
    offers nothing that can be bounded and left: connect(2) says EAGAIN, and poll(2) knows no event for it.  So it
    is tried again after short sleeps.
    """
    deadline = time.monotonic() + timeout
    sock.setblocking(False)
    while True:
        try:
            sock.connect(path)
            break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{path} does not accept the connection; see what holds the server up") from None
            time.sleep(_PAUSE)
        except OSError as error:
            if error.errno is None:  # the socket module's own: nothing else is wrong with it
                raise ValueError(f"{path!r} is too long for a socket's path: 107 bytes can be") from None
            raise
    sock.settimeout(timeout)


def open_tcp(host: str, port: int, timeout: float) -> socket.socket:
    """A connected TCP socket that does not delay small commands."""
    try:
        sock = socket.create_connection((host, port), timeout)
    except OSError as error:
        raise _named(error, f"{host}:{port}") from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def limit_sends(sock: socket.socket, timeout: float) -> None:
    """Makes the socket blocking, with a limit (seconds) for sending only: another thread waits in receiving."""
    sock.settimeout(None)
    seconds, fraction = divmod(max(timeout, 0.001), 1)
    limit = struct.pack("@ll", int(seconds), int(fraction * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def receive(sock: socket.socket) -> Tuple[bytes, List[int]]:
    """What has arrived, and the file descriptors that came along; no bytes at the end of the connection."""
    if sock.family != socket.AF_UNIX:
        return sock.recv(_CHUNK), []
    fds = array.array("i")
    space = socket.CMSG_SPACE(_MAX_FDS * fds.itemsize)
    data, ancillary, _, _ = sock.recvmsg(_CHUNK, space, _CLOEXEC)
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    return data, fds.tolist()


def _named(error: OSError, place: str) -> OSError:
    """The same kind of error, its text saying where."""
    if isinstance(error, socket.gaierror):
        return OSError(f"{error.strerror}: {place}")
    if isinstance(error, TimeoutError) and error.errno is None:
        return error
    if error.errno is None:  # a timeout of the socket module before Python 3.10 has no number
        return TimeoutError(f"no answer from {place}")
    return type(error)(error.errno, f"{os.strerror(error.errno)}; is `hypertap tunnel` running?", place)
