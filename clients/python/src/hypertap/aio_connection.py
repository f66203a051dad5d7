"""The event loop under :class:`~hypertap.AsyncTunnel`.

Theory of operation: the loop watches the command socket and feeds the :class:`~.protocol.Session`; whoever
waits for something in the session looks again whenever it has changed.
Packets are read and written directly; only when a plane is not ready does the loop watch it too.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Callable, Optional, Set, TypeVar, Union

from .closing import AsyncClosing
from .commands import Command
from .connection import REASON_WAIT
from .endpoint import Endpoint, ended, receive
from .errors import Disconnected, TunnelStopped
from .events import StopReason
from .opening import Opening
from .planes import Plane
from .protocol import Reply
from .turn import Turn

T = TypeVar("T")
C = TypeVar("C", bound="AsyncConnection")


class AsyncConnection(Endpoint, AsyncClosing):
    """A command connection and its data plane, without the commands.  Belongs to one event loop."""

    def _begin(self) -> None:
        self._sock: Optional[socket.socket] = None
        self._waiters: Set[asyncio.Future[None]] = set()
        self._unsent = bytearray()
        self._taken = 0  # packets

    async def __aenter__(self: C) -> C:
        await self.connect()
        return self

    async def connect(self) -> None:
        """Connects, which the start of an ``async with`` block does.  Raises as :class:`~hypertap.Tunnel` does."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._receiving_packets = Turn()
        self._sending_packets = Turn()
        sock = await loop.run_in_executor(None, self._open_socket)
        sock.setblocking(False)
        self._sock = sock
        loop.add_reader(sock, self._read)
        try:
            await self._wait(lambda: self._session.greeted, self._timeout, "the daemon's greeting")
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Ends the connection, and with it the tunnel.  Wakes every task that waits in a method."""
        self._session.fail(Disconnected("the tunnel was closed by this program"))
        self._close_socket()
        self._wake()
        self._close_plane()

    def _close_socket(self) -> None:
        if self._sock is not None:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._sock = None

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _read(self) -> None:
        """The loop says that the command socket has something."""
        if self._sock is None:
            return
        try:
            data, fds, failure = receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        self._session.receive(data, fds)
        if failure is not None:
            self._session.fail(failure)
        if self._session.failure is not None:
            self._close_socket()
        self._wake()

    async def _run(self, command: Command[T]) -> T:
        return command.read((await self._ask(command)).check())

    async def _ask(self, command: Command[T], wants_fd: bool = False) -> Reply:
        ident, line = self._session.submit(command.fields, wants_fd)
        # No await up to here: commands leave in the order in which they were noted, and whole, whoever cancels.
        self._unsent += line
        self._write()
        try:
            return await self._wait(
                lambda: self._session.take_reply(ident), self._timeout, f"the reply to {command.name}"
            )
        except BaseException:
            self._session.abandon(ident)
            raise

    def _write(self) -> None:
        """Sends what it can of the commands; the loop calls again when there is room."""
        if self._sock is None:
            return
        try:
            del self._unsent[: self._sock.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._session.fail(ended(error))
            self._close_socket()
            self._wake()
            return
        if self._unsent:
            self._loop.add_writer(self._sock, self._write)
        else:
            self._loop.remove_writer(self._sock)

    def _use_plane(self, opening: Opening) -> None:
        """Takes the plane of a tunnel that has started.  Raises if it has stopped since."""
        if not self._session.running:
            raise self._session.stopped_error()
        self._plane = opening.take()

    def _close_plane(self) -> None:
        if self._plane is not None:
            plane, self._plane = self._plane, None
            self._loop.remove_reader(plane.fileno())
            self._loop.remove_writer(plane.fileno())
            plane.close()

    async def _wait(self, look: Callable[[], Union[T, None, bool]], timeout: Optional[float], what: str) -> T:
        """The first true result of ``look``.  Raises the session's failure, TimeoutError."""
        deadline = None if timeout is None else self._loop.time() + timeout
        while True:
            result = look()
            if result:
                return result  # type: ignore[return-value]  # it is not False and not None
            self._session.check()
            if not await self._pause(deadline):
                raise TimeoutError(f"no sign of {what} in {timeout} s")

    async def _pause(self, deadline: Optional[float], plane: Optional[Plane] = None, write: bool = False) -> bool:
        """Until the session changes or the plane is ready; False when the deadline has passed before."""
        left = None if deadline is None else deadline - self._loop.time()
        if left is not None and left <= 0:
            return False
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.add(waiter)
        timer = None if left is None else self._loop.call_later(left, _settle, waiter)
        fd = None if plane is None else plane.fileno()
        if fd is not None:
            (self._loop.add_writer if write else self._loop.add_reader)(fd, _settle, waiter)
        try:
            await waiter
            return True
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()
            if fd is not None and plane is not None and plane.fileno() == fd:  # else closed in the meantime
                (self._loop.remove_writer if write else self._loop.remove_reader)(fd)

    async def _wait_packets(self, plane: Plane, write: bool, deadline: Optional[float]) -> None:
        """Until the plane is ready; may return early.  Raises TimeoutError, and why no tunnel runs."""
        if not self._session.running:
            raise self._session.stopped_error()
        if not await self._pause(deadline, plane, write):
            raise TimeoutError("no room in time" if write else "no packet in time")
        if plane.fileno() < 0:
            raise self._session.stopped_error()

    async def _why_closed(self) -> Exception:
        """The error for a data plane that ended; the event that says why is on its way."""
        try:
            await self._wait(lambda: not self._session.running, REASON_WAIT, "the reason")
        except TimeoutError:
            return TunnelStopped(StopReason.CONNECTION_FAILED)
        return self._session.stopped_error()


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
