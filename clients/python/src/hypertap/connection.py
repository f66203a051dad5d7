"""The threads and locks under :class:`~hypertap.Tunnel`.

Theory of operation: one daemon thread reads the command socket, feeds the :class:`~.protocol.Session` under
one condition variable and wakes whoever waits for a reply or an event.  Packets do not pass through that
thread: ``recv`` reads the data plane in the caller's, and, when there is nothing, polls it together with a pipe
that is readable whenever no tunnel runs.  A packet lock for each direction is held while its plane is in use,
so a plane is closed only after everybody who polls it has been woken and has let go.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import Callable, Optional, TypeVar, Union

from . import channel
from .closing import Closing
from .commands import Command
from .endpoint import Endpoint, ended, receive
from .errors import Disconnected, TunnelStopped
from .events import StopReason
from .opening import Opening
from .planes import Plane
from .protocol import Reply

T = TypeVar("T")

REASON_WAIT = 1.0
"""Seconds to wait for the event that explains why a data plane ended."""


class Connection(Endpoint, Closing):
    """A command connection and its data plane, without the commands."""

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._sending = threading.Lock()  # commands leave in the order in which they were noted
        self._receiving_packets = threading.RLock()
        self._sending_packets = threading.RLock()
        self._sock = self._open_socket()
        channel.limit_sends(self._sock, self._timeout)
        self._woken, self._wake = os.pipe()
        self._awake = False
        self._reader = threading.Thread(target=self._read, name="hypertap commands", daemon=True)
        self._reader.start()
        try:
            self._wait(lambda: self._session.greeted, self._timeout, "the daemon's greeting")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection, and with it the tunnel.  Wakes every thread that waits in a method."""
        with self._changed:
            self._session.fail(Disconnected("the tunnel was closed by this program"))
            self._wake_packets()
            self._changed.notify_all()
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end was faster
        self._reader.join()
        self._sock.close()
        with self._receiving_packets, self._sending_packets:
            self._close_plane()
            if self._wake >= 0:
                os.close(self._wake)
                os.close(self._woken)
                self._wake = self._woken = -1

    def _run(self, command: Command[T]) -> T:
        return command.read(self._ask(command).check())

    def _ask(self, command: Command[T], wants_fd: bool = False) -> Reply:
        with self._sending:
            with self._changed:
                ident, line = self._session.submit(command.fields, wants_fd)
            try:
                self._sock.sendall(line)
            except OSError as error:
                with self._changed:
                    self._session.fail(ended(error))
        try:
            return self._wait(
                lambda: self._session.take_reply(ident), self._timeout, f"the reply to {command.name}"
            )
        except BaseException:
            with self._changed:
                self._session.abandon(ident)
            raise

    def _wait(self, look: Callable[[], Union[T, None, bool]], timeout: Optional[float], what: str) -> T:
        """The first true result of ``look``, called under the lock.  Raises the session's failure, TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                result = look()
                if result:
                    return result  # type: ignore[return-value]  # it is not False and not None
                self._session.check()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no sign of {what} in {timeout} s")
                self._changed.wait(left)

    def _read(self) -> None:
        """The reader thread."""
        while self._session.failure is None:
            data, fds, failure = receive(self._sock)
            with self._changed:
                self._session.receive(data, fds)
                if failure is not None:
                    self._session.fail(failure)
                if not self._session.running:
                    self._wake_packets()
                self._changed.notify_all()

    def _use_plane(self, opening: Opening) -> None:
        """Takes the plane of a tunnel that has started.  Raises if it has stopped since."""
        with self._changed:
            if not self._session.running:
                raise self._session.stopped_error()
            if self._awake:
                os.read(self._woken, 1)
                self._awake = False
            self._plane = opening.take()

    def _wait_packets(self, plane: Plane, what: int, deadline: Optional[float]) -> None:
        """Until the plane is ready; may return early.  Raises TimeoutError, and why no tunnel runs."""
        if not self._session.running:
            raise self._session.stopped_error()
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("no packet in time" if what == select.POLLIN else "no room in time")
        poll = select.poll()
        poll.register(plane.fileno(), what)
        poll.register(self._woken, select.POLLIN)
        poll.poll(None if left is None else left * 1000)

    def _why_closed(self) -> Exception:
        """The error for a data plane that ended; the event that says why is on its way."""
        with self._changed:
            session = self._session
            self._changed.wait_for(lambda: not session.running, REASON_WAIT)
            return TunnelStopped(StopReason.CONNECTION_FAILED) if session.running else session.stopped_error()

    def _wake_packets(self) -> None:
        """Makes the pipe readable.  Under the lock."""
        if not self._awake and self._wake >= 0:
            os.write(self._wake, b"!")
            self._awake = True

    def _close_plane(self) -> None:
        if self._plane is not None:
            self._plane.close()
            self._plane = None
