"""The blocking client.  Every method may be called from any thread."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Optional

from . import commands
from .commands import PastEvent, Route, Routes, Stats
from .connection import Connection
from .errors import TunnelStopped
from .events import Event, EventKind, Status, StopReason
from .opening import Opening
from .options import Address4, StartOptions
from .planes import PlaneClosed

if TYPE_CHECKING:
    from typing_extensions import Unpack  # of the checker; the standard library has it from 3.11


class Tunnel(Connection):
    """A connection to the ``hypertap tunnel`` daemon, and its tunnel.

    Connects over TCP, or over the daemon's Unix socket if ``control`` names it
    (:data:`hypertap.channel.CONTROL_SOCKET` is the usual place).  ``timeout`` (seconds) bounds every wait for
    an answer.

    Closing, which the end of a ``with`` block does, ends the connection, upon which the daemon takes the
    tunnel down (and ends itself, unless it was told otherwise by ``--on-disconnect``).

    Raises OSError when nobody listens, CommandError when the daemon turns us away, TimeoutError and
    ProtocolError when something else listens there.
    """

    # Lifecycle

    def start(self, address: Address4, **options: Unpack[StartOptions]) -> None:
        """Creates the interface with this address and opens the data plane; returns once it runs.

        The options are those of :class:`~hypertap.StartOptions`, as keyword arguments: ``address6``, ``mtu``,
        ``name``, ``data_plane`` ("udp", "unix", "stream" or "fd"; see :mod:`hypertap.planes`), ``receive_port``,
        ``data_port``, ``offload``, ``follow_default_route``.

        Does nothing when this connection's tunnel runs already.  Raises CommandError, TunnelStopped; TypeError
        and ValueError for options that cannot be.
        """
        if self._plane is not None and self._session.running:
            self._run(commands.start(address, {}))
            return
        with self._receiving_packets, self._sending_packets:
            self._close_plane()
            opening = Opening(address, options, self._over_unix)
            try:
                outcome = self._start_outcome()
                reply = self._ask(opening.command, opening.wants_fd)
                opening.open(reply, self._timeout)
                self._wait(outcome, self._timeout, "the tunnel's start")
                self._use_plane(opening)
            finally:
                opening.cancel()

    def stop(self) -> None:
        """Takes the interface down; :meth:`start` works again."""
        outcome = self._stop_outcome()
        self._run(commands.simple("stop"))
        self._wait(outcome, self._timeout, "the tunnel's stop")

    def shutdown(self) -> None:
        """Takes the interface down and ends the daemon."""
        self._run(commands.simple("shutdown"))

    def uninstall(self) -> None:
        """Like :meth:`shutdown`, and removes everything that ``hypertap install`` put on the machine."""
        self._run(commands.simple("uninstall"))

    def load_config(self) -> None:
        """Asks for the right to configure networking; the outcome is an event, VPN_APPROVED or VPN_DENIED."""
        self._run(commands.simple("loadConfig"))

    def load_extension(self) -> None:
        """Asks for the TUN driver; the outcome is an event, EXTENSION_APPROVED or EXTENSION_NOT_APPROVED."""
        self._run(commands.simple("loadExtension"))

    def open_extension_settings(self) -> None:
        """Brings the desktop's network settings to the front."""
        self._run(commands.simple("openExtensionSettings"))

    # Routes and DNS

    def add_included_routes(self, *routes: Route) -> None:
        """Sends these destinations into the tunnel.  All of them or, on an error, none."""
        self._run(commands.change_routes("addIncludedRoutes", routes))

    def remove_included_routes(self, *routes: Route) -> None:
        """Undoes :meth:`add_included_routes`; routes that are not there are fine."""
        self._run(commands.change_routes("removeIncludedRoutes", routes))

    def add_excluded_routes(self, *routes: Route) -> None:
        """Keeps these destinations out of the tunnel, even where an included route covers them."""
        self._run(commands.change_routes("addExcludedRoutes", routes))

    def remove_excluded_routes(self, *routes: Route) -> None:
        """Undoes :meth:`add_excluded_routes`; routes that are not there are fine."""
        self._run(commands.change_routes("removeExcludedRoutes", routes))

    def turn_on_dns(self) -> None:
        """Sends every DNS query of the machine into the tunnel, for this program to answer."""
        self._run(commands.simple("turnOnDNS"))

    def turn_off_dns(self) -> None:
        """Undoes :meth:`turn_on_dns`."""
        self._run(commands.simple("turnOffDNS"))

    # Questions

    def status(self) -> Status:
        """The daemon's view of the tunnel."""
        return self._run(commands.status())

    def name(self) -> str:
        """The name of the interface."""
        return self._run(commands.name())

    def version(self) -> str:
        """The daemon's version."""
        return self._run(commands.version())

    def stats(self) -> Stats:
        """Packets, bytes and drops by cause."""
        return self._run(commands.stats())

    def routes(self) -> Routes:
        """The routes in force."""
        return self._run(commands.routes())

    def past_events(self) -> List[PastEvent]:
        """The latest events that the daemon remembers, those before this connection included."""
        return self._run(commands.past_events())

    def request(self, cmd: str, **fields: object) -> Dict[str, object]:
        """Any other command by its name on the wire; returns the reply as it came."""
        return self._run(commands.raw(cmd, fields))

    def wait_event(self, *kinds: EventKind, timeout: Optional[float] = None) -> Event:
        """The next event of one of these kinds (any, if none is named); earlier others are discarded.

        ``timeout`` in seconds, None for no end.  Raises TimeoutError, Disconnected.
        """
        return self._wait(lambda: self._session.take_event(kinds), timeout, "an event")

    # Packets

    def recv(self, timeout: Optional[float] = None) -> bytes:
        """The next IP packet that the machine sent into the tunnel.

        ``timeout`` in seconds, None for no end.  Raises TimeoutError; TunnelStopped and Disconnected once
        everything that arrived before has been read.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._receiving_packets:
            plane = self.plane
            try:
                while True:
                    packet = plane.try_recv()
                    if packet is not None:
                        return packet
                    self._wait_packets(plane, select.POLLIN, deadline)
            except PlaneClosed as error:
                raise self._why_closed() from error

    def send(self, packet: bytes, timeout: Optional[float] = None) -> None:
        """Gives one IP packet to the machine as if it had arrived from the network.

        Waits while there is no room, at most ``timeout`` seconds.  The daemon drops what is not a sound IP
        packet and counts it (:meth:`stats`).  Raises TimeoutError, TunnelStopped, Disconnected, ValueError.
        """
        self.send_many((packet,), timeout)

    def send_many(self, packets: Iterable[bytes], timeout: Optional[float] = None) -> None:
        """:meth:`send` for several packets."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._sending_packets:
            plane = self._running_plane()
            try:
                for packet in packets:
                    while not plane.try_send(packet):
                        self._wait_packets(plane, select.POLLOUT, deadline)
                while not plane.flush():
                    self._wait_packets(plane, select.POLLOUT, deadline)
            except PlaneClosed as error:
                raise self._why_closed() from error

    def __iter__(self) -> Iterator[bytes]:
        """Packets until the tunnel is stopped by ``stop``; any other end raises."""
        while True:
            try:
                packet = self.recv()
            except TunnelStopped as stopped:
                if stopped.reason is StopReason.STOPPED_BY_USER:
                    return
                raise
            yield packet
