"""Taking turns, each waited for no longer than there is time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Deque, Optional


class Turn:
    """Whose turn it is among the tasks of one event loop, in the order in which they asked.

    As :class:`asyncio.Lock`, but with a deadline: a task that waits for its turn holds to its own time.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiters: "Deque[asyncio.Future[bool]]" = deque()

    async def take(self, deadline: Optional[float] = None) -> bool:
        """Waits for the turn; False when the deadline, in the loop's time, has come before.  May be cancelled."""
        if not self._is_taken:
            self._is_taken = True
            return True
        loop = asyncio.get_running_loop()
        waiter: "asyncio.Future[bool]" = loop.create_future()
        self._waiters.append(waiter)
        timer = None if deadline is None else loop.call_at(deadline, _settle, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.give()  # it had come just before
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def give(self) -> None:
        """Ends the turn; the next one has it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(True)
                return
        self._is_taken = False

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        self.give()


def _settle(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)
