"""What the blocking and the asyncio client have in common: everything that waits for nothing."""

from __future__ import annotations

import os
import socket
from typing import Callable, List, Optional, Tuple

from . import channel
from .errors import Disconnected
from .events import StopReason
from .planes import Plane
from .protocol import Session


class Endpoint:
    """This end of a command connection, and its data plane."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 5500,
        *,
        control: Optional[channel.ControlPath] = None,
        timeout: float = 15.0,
    ) -> None:
        self._host, self._port, self._control = host, port, control
        self._timeout = timeout
        self._over_unix = control is not None
        self._session = Session(os.close)
        self._plane: Optional[Plane] = None
        self._begin()

    def _begin(self) -> None:
        """The rest of the construction."""
        raise NotImplementedError

    @property
    def vpn_approved(self) -> bool:
        """Whether the daemon may configure networking; if not, see ``load_config``."""
        return bool(self._session.vpn_approved)

    @property
    def extension_approved(self) -> bool:
        """Whether the kernel's TUN driver is usable; if not, see ``load_extension``."""
        return bool(self._session.extension_approved)

    @property
    def stop_reason(self) -> Optional[StopReason]:
        """Why the tunnel stopped; None while it runs, and before the first start."""
        return self._session.stop_reason

    @property
    def plane(self) -> Plane:
        """The open data plane, for programs with a loop of their own.  Raises TunnelStopped, Disconnected."""
        plane = self._plane
        if plane is None:
            raise self._session.stopped_error()
        return plane

    def _open_socket(self) -> socket.socket:
        if self._control is not None:
            return channel.open_unix(self._control, socket.SOCK_STREAM, self._timeout)
        return channel.open_tcp(self._host, self._port, self._timeout)

    def _running_plane(self) -> Plane:
        """The plane, to send on.  Raises why no tunnel runs: the plane of one that has stopped can be there still."""
        plane = self.plane
        if not self._session.running:
            raise self._session.stopped_error()
        return plane

    def _start_outcome(self) -> Callable[[], bool]:
        """Whether a start or a stop has been told since this was asked for."""
        session = self._session
        starts, stops = session.starts, session.stops
        return lambda: session.starts > starts or session.stops > stops

    def _stop_outcome(self) -> Callable[[], bool]:
        """Whether the tunnel has stopped since this was asked for; also where none ran."""
        session = self._session
        stops, running = session.stops, session.running
        return lambda: not running or session.stops > stops


def receive(sock: socket.socket) -> Tuple[bytes, List[int], Optional[Disconnected]]:
    """What has arrived at a command socket, or how it ended.  Raises BlockingIOError, InterruptedError."""
    try:
        data, fds = channel.receive(sock)
    except (BlockingIOError, InterruptedError):
        raise
    except OSError as error:
        return b"", [], ended(error)
    return data, fds, None if data else Disconnected("the daemon closed the command connection")


def ended(error: OSError) -> Disconnected:
    """The end of a command connection that broke."""
    return Disconnected(f"the command connection ended: {error}")
