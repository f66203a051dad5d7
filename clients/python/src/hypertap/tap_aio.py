"""An Ethernet interface for asyncio: :class:`hypertap.TapInterface` with ``await``.

Every coroutine may be cancelled: a cancelled ``recv`` loses no frame, and the event loop completes a frame that a
cancelled ``send`` left half sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, AsyncIterator, Callable, Optional

from . import tap_link
from .closing import AsyncClosing
from .tap_link import CLOSED_HERE, TapClosed, TapLink
from .tap_options import ConnectOptions, OpenOptions, Where
from .turn import Turn

if TYPE_CHECKING:
    from typing_extensions import Unpack  # of the checker; the standard library has it from 3.11

_FAIRNESS = 64  # frames in a row before the loop's other tasks get a turn


class TapInterface(AsyncClosing):
    """An Ethernet interface of the machine: whole frames in and out, while this is open.

    ``async with await TapInterface.connect(WHERE) as tap`` closes at its end.  The arguments, errors and methods
    are those of :class:`hypertap.TapInterface`.  It belongs to one event loop.
    """

    def __init__(self, link: TapLink) -> None:
        """Not to be called: see :meth:`connect` and :meth:`open`."""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._receiving = Turn()
        self._sending = Turn()
        self._waiters: "set[asyncio.Future[None]]" = set()
        self._taken = 0

    @classmethod
    async def connect(cls, where: Where, **options: Unpack[ConnectOptions]) -> "TapInterface":
        """Connects to a server: an absolute path, a port of 127.0.0.1, or "ADDR:PORT".

        The options are those of :class:`~hypertap.tap_options.ConnectOptions`, as keyword arguments: ``framing``,
        ``mtu``, ``timeout``.  Raises OSError, TimeoutError, ValueError.
        """
        return cls(await _made(lambda: tap_link.connect(where, **options)))

    @classmethod
    async def open(cls, **options: Unpack[OpenOptions]) -> "TapInterface":
        """Makes an interface, which is there and has its addresses when this returns.

        The options are those of :class:`~hypertap.tap_options.OpenOptions`, as keyword arguments: ``name``, ``mac``,
        ``ipv4``, ``ipv6``, ``mtu``, ``program``, ``timeout``.  Raises TapRefused with the reason, TimeoutError,
        OSError.
        """
        return cls(await _made(lambda: tap_link.open_program(**options)))

    async def close(self) -> None:
        """Removes the interface; one of :meth:`open` is gone when this returns.  A second time does nothing.

        Who waits in another task gets TapClosed.
        """
        fd = self._link.fileno()
        if fd >= 0:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
        self._link.shut()
        for waiter in self._waiters:
            _settle(waiter)
        await asyncio.shield(self._loop.run_in_executor(None, self._link.close))

    @property
    def name(self) -> Optional[str]:
        """The interface's name; None where a server made it, which alone knows."""
        return self._link.name

    @property
    def max_frame(self) -> int:
        """The longest frame that can be sent, in bytes."""
        return self._link.max_frame

    async def recv(self, timeout: Optional[float] = None) -> Optional[bytes]:
        """The next frame that the machine sent; None when none came in ``timeout`` seconds (None: no end).

        Raises TapClosed once the interface is gone and all that came before was received; ProtocolError.
        """
        deadline = self._deadline(timeout)
        if not await self._receiving.take(deadline):
            return None
        try:
            self._taken += 1
            if self._taken % _FAIRNESS == 0:
                await asyncio.sleep(0)
            while True:
                frame = self._link.try_recv()
                if frame is not None:
                    return frame
                if not await self._ready(deadline, write=False):
                    return None
        except TapClosed as error:
            raise await self._why(error) from error
        finally:
            self._receiving.give()

    async def send(self, frame: bytes, timeout: Optional[float] = None) -> None:
        """Sends one frame to the machine, waiting for room at most ``timeout`` seconds (None: no end).

        A frame is taken whole or not at all.  Raises TimeoutError when none of it was taken, TapClosed, ValueError.
        """
        deadline = self._deadline(timeout)
        if not await self._sending.take(deadline):
            raise TimeoutError("no room in time")
        try:
            while not self._link.try_send(frame):
                if not await self._ready(deadline, write=True):
                    raise TimeoutError("no room in time")
            while not self._link.flush() and await self._ready(deadline, write=True):
                pass
        except TapClosed as error:
            raise await self._why(error) from error
        finally:
            if self._link.unsent and self._link.fileno() >= 0:
                self._loop.add_writer(self._link.fileno(), self._flush)
            self._sending.give()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Frames until the interface is gone."""
        while True:
            try:
                frame = await self.recv()
            except TapClosed:
                return
            if frame is not None:
                yield frame

    def _flush(self) -> None:
        """The loop says that there is room for the rest of a frame."""
        fd = self._link.fileno()
        try:
            is_done = self._link.flush()
        except TapClosed:
            is_done = True  # who sends next hears of it
        if is_done and fd >= 0:
            self._loop.remove_writer(fd)

    def _deadline(self, timeout: Optional[float]) -> Optional[float]:
        return None if timeout is None else self._loop.time() + timeout

    async def _ready(self, deadline: Optional[float], write: bool) -> bool:
        """Until the socket is ready; False when the deadline has passed before."""
        fd = self._link.fileno()
        if fd < 0:
            raise TapClosed(CLOSED_HERE)
        left = None if deadline is None else deadline - self._loop.time()
        if left is not None and left <= 0:
            return False
        waiter: "asyncio.Future[None]" = self._loop.create_future()
        self._waiters.add(waiter)
        timer = None if left is None else self._loop.call_later(left, _settle, waiter)
        (self._loop.add_writer if write else self._loop.add_reader)(fd, _settle, waiter)
        try:
            await waiter
            return True
        finally:
            self._waiters.discard(waiter)
            if timer is not None:
                timer.cancel()
            if self._link.fileno() == fd:  # else closed in the meantime
                (self._loop.remove_writer if write else self._loop.remove_reader)(fd)

    async def _why(self, error: TapClosed) -> TapClosed:
        return await self._loop.run_in_executor(None, self._link.why, error)


async def _made(make: Callable[[], TapLink]) -> TapLink:
    """The link that a thread makes.  Closes it when nobody waits for it any more."""
    making = asyncio.get_running_loop().run_in_executor(None, make)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_discard)
        raise


def _discard(made: "asyncio.Future[TapLink]") -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().shut()


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
