"""The asyncio client: :class:`~hypertap.Tunnel` with ``await``.

Every coroutine may be cancelled: a cancelled ``recv`` loses no packet, a packet that a cancelled ``send`` left
half sent is completed by the next one, and the reply to a cancelled command is dropped when it arrives.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, AsyncIterator, Dict, Iterable, List, Optional

from . import commands
from .aio_connection import AsyncConnection
from .commands import PastEvent, Route, Routes, Stats
from .errors import TunnelStopped
from .events import Event, EventKind, Status, StopReason
from .opening import Opening
from .options import Address4, StartOptions
from .planes import PlaneClosed
from .tap_aio import TapInterface as TapInterface

if TYPE_CHECKING:
    from typing_extensions import Unpack  # of the checker; the standard library has it from 3.11


_FAIRNESS = 64  # packets in a row before the loop's other tasks get a turn


class AsyncTunnel(AsyncConnection):
    """A connection to the ``hypertap tunnel`` daemon, and its tunnel.

    ``async with AsyncTunnel() as tunnel`` connects, and closes at its end; :meth:`connect` and :meth:`close` do
    the same by hand.  The arguments, errors and methods are those of :class:`~hypertap.Tunnel`.
    """

    # Lifecycle

    async def start(self, address: Address4, **options: Unpack[StartOptions]) -> None:
        """Creates the interface with this address and opens the data plane; returns once it runs.

        The options are those of :class:`~hypertap.StartOptions`, as keyword arguments: ``address6``, ``mtu``,
        ``name``, ``data_plane`` ("udp", "unix", "stream" or "fd"; see :mod:`hypertap.planes`), ``receive_port``,
        ``data_port``, ``offload``, ``follow_default_route``.

        Does nothing when this connection's tunnel runs already.  Raises CommandError, TunnelStopped; TypeError
        and ValueError for options that cannot be.
        """
        if self._plane is not None and self._session.running:
            await self._run(commands.start(address, {}))
            return
        async with self._receiving_packets, self._sending_packets:
            self._close_plane()
            opening = Opening(address, options, self._over_unix)
            try:
                outcome = self._start_outcome()
                reply = await self._ask(opening.command, opening.wants_fd)
                # Without waiting: a daemon that has just answered has room for the connection.
                opening.open(reply, 0.0)
                await self._wait(outcome, self._timeout, "the tunnel's start")
                self._use_plane(opening)
            finally:
                opening.cancel()

    async def stop(self) -> None:
        """Takes the interface down; :meth:`start` works again."""
        outcome = self._stop_outcome()
        await self._run(commands.simple("stop"))
        await self._wait(outcome, self._timeout, "the tunnel's stop")

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

    async def recv(self, timeout: Optional[float] = None) -> bytes:
        """The next IP packet that the machine sent into the tunnel.

        ``timeout`` in seconds, None for no end.  Raises TimeoutError; TunnelStopped and Disconnected once
        everything that arrived before has been read.
        """
        deadline = None if timeout is None else self._loop.time() + timeout
        if not await self._receiving_packets.take(deadline):
            raise TimeoutError("no packet in time")
        try:
            plane = self.plane
            self._taken += 1
            if self._taken % _FAIRNESS == 0:
                await asyncio.sleep(0)
            while True:
                packet = plane.try_recv()
                if packet is not None:
                    return packet
                await self._wait_packets(plane, False, deadline)
        except PlaneClosed as error:
            raise await self._why_closed() from error
        finally:
            self._receiving_packets.give()

    async def send(self, packet: bytes, timeout: Optional[float] = None) -> None:
        """Gives one IP packet to the machine as if it had arrived from the network.

        Waits while there is no room, at most ``timeout`` seconds.  The daemon drops what is not a sound IP
        packet and counts it (:meth:`stats`).  Raises TimeoutError, TunnelStopped, Disconnected, ValueError.
        """
        await self.send_many((packet,), timeout)

    async def send_many(self, packets: Iterable[bytes], timeout: Optional[float] = None) -> None:
        """:meth:`send` for several packets."""
        deadline = None if timeout is None else self._loop.time() + timeout
        if not await self._sending_packets.take(deadline):
            raise TimeoutError("no room in time")
        try:
            plane = self._running_plane()
            for packet in packets:
                while not plane.try_send(packet):
                    await self._wait_packets(plane, True, deadline)
            while not plane.flush():
                await self._wait_packets(plane, True, deadline)
        except PlaneClosed as error:
            raise await self._why_closed() from error
        finally:
            self._sending_packets.give()

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
