"""The asyncio client: :class:`~hypertap.Tunnel` with ``await``.

Every coroutine may be cancelled: a cancelled ``recv`` loses no packet, a packet that a cancelled ``send`` left
half sent is completed by the next one, and the reply to a cancelled command is dropped when it arrives.
"""

from __future__ import annotations

import asyncio
from typing import AsyncIterator, Dict, Iterable, List, Optional

from . import commands
from .aio_connection import AsyncConnection
from .commands import Address4, Address6, Command, PastEvent, Route, Routes, Stats
from .errors import TunnelStopped
from .events import Event, EventKind, Status, StopReason
from .opening import Opening
from .planes import DATA_PORT, Plane, PlaneClosed


_FAIRNESS = 64  # packets in a row before the loop's other tasks get a turn


class AsyncTunnel(AsyncConnection):
    """A connection to the ``hypertap tunnel`` daemon, and its tunnel.

    ``async with AsyncTunnel() as tunnel`` connects, and closes at its end; :meth:`connect` and :meth:`close` do
    the same by hand.  The arguments, errors and methods are those of :class:`~hypertap.Tunnel`.
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

    async def start(
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
            await self._run(commands.start(address))
            return
        async with self._receiving_packets, self._sending_packets:
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
                await self._start(command, opening)
            finally:
                opening.cancel()

    async def _start(self, command: Command[Optional[str]], opening: Opening) -> None:
        session = self._session
        starts, stops = session.starts, session.stops
        reply = await self._ask(command, opening.wants_fd)
        # Opening a Unix data plane blocks, but only until the kernel has queued the connection.
        plane = opening.finish(command, reply, self._timeout)
        try:
            await self._wait(
                lambda: session.starts > starts or session.stops > stops, self._timeout, "the tunnel's start"
            )
            self._use_plane(plane)
        except BaseException:
            plane.close()
            raise

    async def stop(self) -> None:
        """Takes the interface down; :meth:`start` works again."""
        stops, running = self._session.stops, self._session.running
        await self._run(commands.simple("stop"))
        if running:
            await self._wait(lambda: self._session.stops > stops, self._timeout, "the tunnel's stop")

    async def shutdown(self) -> None:
        """Takes the interface down and ends the daemon."""
        await self._run(commands.simple("shutdown"))

    async def uninstall(self) -> None:
        """Like :meth:`shutdown`, and removes everything that ``hypertap install`` put on the machine."""
        await self._run(commands.simple("uninstall"))

    async def load_config(self) -> None:
        """Asks for the right to configure networking; the outcome is an event, VPN_APPROVED or VPN_DENIED."""
        await self._run(commands.simple("loadConfig"))

    async def load_extension(self) -> None:
        """Asks for the TUN driver; the outcome is an event, EXTENSION_APPROVED or EXTENSION_NOT_APPROVED."""
        await self._run(commands.simple("loadExtension"))

    async def open_extension_settings(self) -> None:
        """Brings the desktop's network settings to the front."""
        await self._run(commands.simple("openExtensionSettings"))

    # Routes and DNS

    async def add_included_routes(self, *routes: Route) -> None:
        """Sends these destinations into the tunnel.  All of them or, on an error, none."""
        await self._run(commands.change_routes("addIncludedRoutes", routes))

    async def remove_included_routes(self, *routes: Route) -> None:
        """Undoes :meth:`add_included_routes`; routes that are not there are fine."""
        await self._run(commands.change_routes("removeIncludedRoutes", routes))

    async def add_excluded_routes(self, *routes: Route) -> None:
        """Keeps these destinations out of the tunnel, even where an included route covers them."""
        await self._run(commands.change_routes("addExcludedRoutes", routes))

    async def remove_excluded_routes(self, *routes: Route) -> None:
        """Undoes :meth:`add_excluded_routes`; routes that are not there are fine."""
        await self._run(commands.change_routes("removeExcludedRoutes", routes))

    async def turn_on_dns(self) -> None:
        """Sends every DNS query of the machine into the tunnel, for this program to answer."""
        await self._run(commands.simple("turnOnDNS"))

    async def turn_off_dns(self) -> None:
        """Undoes :meth:`turn_on_dns`."""
        await self._run(commands.simple("turnOffDNS"))

    # Questions

    async def status(self) -> Status:
        """The daemon's view of the tunnel."""
        return await self._run(commands.status())

    async def name(self) -> str:
        """The name of the interface."""
        return await self._run(commands.name())

    async def version(self) -> str:
        """The daemon's version."""
        return await self._run(commands.version())

    async def stats(self) -> Stats:
        """Packets, bytes and drops by cause."""
        return await self._run(commands.stats())

    async def routes(self) -> Routes:
        """The routes in force."""
        return await self._run(commands.routes())

    async def past_events(self) -> List[PastEvent]:
        """The latest events that the daemon remembers, those before this connection included."""
        return await self._run(commands.past_events())

    async def request(self, cmd: str, **fields: object) -> Dict[str, object]:
        """Any other command by its name on the wire; returns the reply as it came."""
        return await self._run(commands.raw(cmd, fields))

    async def wait_event(self, *kinds: EventKind, timeout: Optional[float] = None) -> Event:
        """The next event of one of these kinds (any, if none is named); earlier others are discarded.

        ``timeout`` in seconds, None for no end.  Raises TimeoutError, Disconnected.
        """
        return await self._wait(lambda: self._session.take_event(kinds), timeout, "an event")

    # Packets

    @property
    def plane(self) -> Plane:
        """The open data plane, for programs with a loop of their own.  Raises TunnelStopped, Disconnected."""
        plane = self._plane
        if plane is None:
            raise self._session.stopped_error()
        return plane

    async def recv(self, timeout: Optional[float] = None) -> bytes:
        """The next IP packet that the machine sent into the tunnel.

        ``timeout`` in seconds, None for no end.  Raises TimeoutError; TunnelStopped and Disconnected once
        everything that arrived before has been read.
        """
        deadline = None if timeout is None else self._loop.time() + timeout
        async with self._receiving_packets:
            plane = self.plane
            self._taken += 1
            if self._taken % _FAIRNESS == 0:
                await asyncio.sleep(0)
            try:
                while True:
                    packet = plane.try_recv()
                    if packet is not None:
                        return packet
                    await self._wait_packets(plane, False, deadline)
            except PlaneClosed as error:
                raise await self._why_closed() from error

    async def send(self, packet: bytes, timeout: Optional[float] = None) -> None:
        """Gives one IP packet to the machine as if it had arrived from the network.

        Waits while there is no room, at most ``timeout`` seconds.  The daemon drops what is not a sound IP
        packet and counts it (:meth:`stats`).  Raises TimeoutError, TunnelStopped, Disconnected, ValueError.
        """
        await self.send_many((packet,), timeout)

    async def send_many(self, packets: Iterable[bytes], timeout: Optional[float] = None) -> None:
        """:meth:`send` for several packets."""
        deadline = None if timeout is None else self._loop.time() + timeout
        async with self._sending_packets:
            plane = self.plane
            if not self._session.running:
                raise self._session.stopped_error()
            try:
                for packet in packets:
                    while not plane.try_send(packet):
                        await self._wait_packets(plane, True, deadline)
                while not plane.flush():
                    await self._wait_packets(plane, True, deadline)
            except PlaneClosed as error:
                raise await self._why_closed() from error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Packets until the tunnel is stopped by ``stop``; any other end raises."""
        while True:
            try:
                packet = await self.recv()
            except TunnelStopped as stopped:
                if stopped.reason is StopReason.STOPPED_BY_USER:
                    return
                raise
            yield packet
