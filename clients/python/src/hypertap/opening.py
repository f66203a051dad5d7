"""A ``start`` under way: which data plane, and when each kind of it has to be opened."""

from __future__ import annotations

import os
from typing import Optional

from . import commands
from .errors import ProtocolError
from .options import Address4, StartOptions
from .planes import DATA_PORT, RECEIVE_PORT, FdPlane, Plane, SeqpacketPlane, StreamPlane, UdpPlane
from .protocol import Reply


class Opening:
    """Opens the data plane around one ``start`` command.

    UDP is bound before the command is sent, so that no packet finds the port closed; the others exist only
    once the daemon has answered.  Raises TypeError and ValueError for options that cannot be.
    """

    def __init__(self, address: Address4, options: StartOptions, over_unix: bool) -> None:
        self._data_plane = options.get("data_plane", "udp")
        self._plane: Optional[Plane] = None
        self.wants_fd = self._data_plane == "fd"
        if self.wants_fd and not over_unix:
            raise ValueError(
                "the fd data plane needs the Unix command socket, since only that can carry a descriptor; "
                "pass control=..."
            )
        port = options.get("receive_port")
        if port is not None and self._data_plane != "udp":
            raise ValueError("receive_port belongs to the udp data plane")
        self.command = commands.start(address, options)
        if self._data_plane == "udp":
            plane = UdpPlane(RECEIVE_PORT if port is None else port, options.get("data_port") or DATA_PORT)
            self._plane = plane
            if port is not None:  # the one that was taken: 0 asks for any
                self.command = commands.start(address, {**options, "receive_port": plane.receive_port})

    def open(self, reply: Reply, timeout: float) -> None:
        """Opens the plane as a reply says.  Raises the reply's error; takes the reply's descriptor."""
        try:
            path = self.command.read(reply.check())
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

    def take(self) -> Plane:
        """The open plane, the caller's from now on."""
        assert self._plane is not None, "open comes before take"
        plane, self._plane = self._plane, None
        return plane

    def cancel(self) -> None:
        """Closes what nobody has taken."""
        if self._plane is not None:
            self._plane.close()
            self._plane = None
