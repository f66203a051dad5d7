"""Preparing ``start``: which data plane, and when each kind of it has to be opened."""

from __future__ import annotations

import os
from typing import Optional

from .commands import Command
from .errors import ProtocolError
from .planes import DATA_PORT, RECEIVE_PORT, FdPlane, Plane, SeqpacketPlane, StreamPlane, UdpPlane
from .protocol import Reply


class Opening:
    """Opens the data plane around one ``start`` command.

    UDP is bound before the command is sent, so that no packet finds the port closed; the others exist only
    once the daemon has answered.
    """

    def __init__(self, data_plane: str, receive_port: Optional[int], data_port: int, over_unix: bool) -> None:
        if data_plane == "fd" and not over_unix:
            raise ValueError(
                "the fd data plane needs the Unix command socket, since only that can carry a descriptor; "
                "pass control=..."
            )
        if receive_port is not None and data_plane != "udp":
            raise ValueError("receive_port belongs to the udp data plane")
        self.wants_fd = data_plane == "fd"
        self.receive_port: Optional[int] = None
        """What to tell the daemon; None for its own default."""
        self._data_plane = data_plane
        self._plane: Optional[Plane] = None
        if data_plane == "udp":
            plane = UdpPlane(RECEIVE_PORT if receive_port is None else receive_port, data_port or DATA_PORT)
            if receive_port is not None:
                self.receive_port = plane.receive_port
            self._plane = plane

    def finish(self, command: Command[Optional[str]], reply: Reply, timeout: float) -> Plane:
        """The open plane, after a reply.  Raises what the reply says; takes the reply's descriptor."""
        try:
            path = command.read(reply.check())
        except Exception:
            if reply.fd is not None:
                os.close(reply.fd)
            raise
        if reply.fd is not None:
            self._plane = FdPlane(reply.fd)
        elif self._data_plane == "unix" and path is not None:
            self._plane = SeqpacketPlane(path, timeout)
        elif self._data_plane == "stream" and path is not None:
            self._plane = StreamPlane(path, timeout)
        if self._plane is None:
            raise ProtocolError(
                f"the daemon did not say where the {self._data_plane} data plane is; "
                "it is older than this client, or its tunnel was running already: stop that first"
            )
        plane, self._plane = self._plane, None
        return plane

    def cancel(self) -> None:
        """Closes what ``finish`` has not handed out."""
        if self._plane is not None:
            self._plane.close()
            self._plane = None
