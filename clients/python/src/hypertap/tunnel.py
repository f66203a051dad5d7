"""The blocking client.  Every method may be called from any thread."""

from __future__ import annotations

import select
import time
from typing import Dict, Iterable, Iterator, List, Optional

from . import commands
from .commands import Address4, Address6, Command, PastEvent, Route, Routes, Stats
from .connection import Connection
from .errors import TunnelStopped
from .events import Event, EventKind, Status, StopReason
from .opening import Opening
from .planes import DATA_PORT, Plane, PlaneClosed


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

    @property
    def vpn_approved(self) -> bool:
        """Whether the daemon may configure networking; if not, see :meth:`load_config`."""
        return bool(self._session.vpn_approved)

    @property
    def extension_approved(self) -> bool:
        """Whether the kernel's TUN driver is usable; if not, see :meth:`load_extension`."""
        return bool(self._session.extension_approved)

    @property
    def stop_reason(self) -> Optional[StopReason]:
        """Why the tunnel stopped; None while it runs, and before the first start."""
        return self._session.stop_reason

    def start(
        self,
        address: Address4,
        *,
        address6: Optional[Address6] = None,
        mtu: Optional[int] = None,
        name: Optional[str] = None,
        data_plane: str = "udp",
        receive_port: Optional[int] = None,
        data_port: int = DATA_PORT,
        offload: bool = False,
        follow_default_route: bool = False,
    ) -> None:
        """Creates the interface with this address and opens the data plane; returns once it runs.

        ``data_plane`` is "udp", "unix", "stream" or "fd" (see :mod:`hypertap.planes`).  For UDP, packets arrive
        at ``receive_port`` (default 5502; 0 takes any free one) and go to the daemon's ``data_port``.
        ``follow_default_route`` stops the tunnel when the machine's default route changes.

        Does nothing when this connection's tunnel runs already.  Raises CommandError, TunnelStopped.
        """
        if self._plane is not None and self._session.running:
            self._run(commands.start(address))
            return
        with self._receiving_packets, self._sending_packets:
            self._close_plane()
            opening = Opening(data_plane, receive_port, data_port, self._over_unix)
            try:
                command = commands.start(
                    address,
                    address6=address6,
                    mtu=mtu,
                    name=name,
                    data_plane=data_plane,
                    receive_port=opening.receive_port,
                    offload=offload,
                    follow_default_route=follow_default_route,
                )
                self._start(command, opening)
            finally:
                opening.cancel()

    def _start(self, command: Command[Optional[str]], opening: Opening) -> None:
        session = self._session
        starts, stops = session.starts, session.stops
        reply = self._ask(command, opening.wants_fd)
        plane = opening.finish(command, reply, self._timeout)
        try:
            self._wait(
                lambda: session.starts > starts or session.stops > stops, self._timeout, "the tunnel's start"
            )
            self._use_plane(plane)
        except BaseException:
            plane.close()
            raise

    def stop(self) -> None:
        """Takes the interface down; :meth:`start` works again."""
        stops, running = self._session.stops, self._session.running
        self._run(commands.simple("stop"))
        if running:
            self._wait(lambda: self._session.stops > stops, self._timeout, "the tunnel's stop")

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

    @property
    def plane(self) -> Plane:
        """The open data plane, for programs with a loop of their own.  Raises TunnelStopped, Disconnected."""
        plane = self._plane
        if plane is None:
            raise self._session.stopped_error()
        return plane

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
            plane = self.plane
            if not self._session.running:
                raise self._session.stopped_error()
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
