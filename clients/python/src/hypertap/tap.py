"""An Ethernet interface for programs that wait in their calls."""

from __future__ import annotations

import os
import select
import threading
import time
from types import TracebackType
from typing import Iterator, Optional, Type, Union

from . import tap_link
from .tap_link import TapClosed, TapLink, Where
from .tap_program import readable


class TapInterface:
    """An Ethernet interface of the machine: whole frames in and out, while this is open.

    There are two ways to one.  :meth:`connect`: a server (``hypertap tap --listen=WHERE``) makes it; this program
    needs no rights.  :meth:`open`: this program is root, or has CAP_NET_ADMIN, and makes it for itself, with the
    installed program ``hypertap``.  Either is a context manager, whose end removes the interface.

    The methods may be called from any thread; one may receive while another sends.
    """

    def __init__(self, link: TapLink) -> None:
        """Not to be called: see :meth:`connect` and :meth:`open`."""
        self._link = link
        self._receiving = threading.Lock()
        self._sending = threading.Lock()

    @classmethod
    def connect(
        cls, where: Where, *, framing: str = "le16", mtu: int = 1500, timeout: float = 10.0
    ) -> "TapInterface":
        """Connects to a server: an absolute path, a port of 127.0.0.1, or "ADDR:PORT".

        ``framing`` is "le16", "qemu" or "unframed", as the server has it (:mod:`hypertap.tap_frames`).  ``mtu`` is
        the server's; with it goes the longest frame that may be sent.  Raises OSError, ValueError.
        """
        return cls(tap_link.connect(where, framing, mtu, timeout))

    @classmethod
    def open(
        cls,
        *,
        name: Optional[str] = None,
        mac: Optional[str] = None,
        ipv4: Optional[str] = None,
        ipv6: Optional[str] = None,
        mtu: int = 1500,
        program: Union[str, "os.PathLike[str]"] = "hypertap",
        timeout: float = 10.0,
    ) -> "TapInterface":
        """Makes an interface, which is there and has its addresses when this returns.

        ``mac``, ``ipv4`` and ``ipv6`` are the machine's own on it ("02:00:00:00:00:01", "10.0.0.1/24",
        "fd00::1/64"); what is None is chosen.  Raises TapRefused with the reason, TimeoutError, OSError.
        """
        return cls(tap_link.open_program(name, mac, ipv4, ipv6, mtu, program, timeout))

    def __enter__(self) -> "TapInterface":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Removes the interface; one of :meth:`open` is gone when this returns.  A second time does nothing.

        Who waits in another thread gets TapClosed.
        """
        self._link.close()

    @property
    def name(self) -> Optional[str]:
        """The interface's name; None where a server made it, which alone knows."""
        return self._link.name

    @property
    def max_frame(self) -> int:
        """The longest frame that can be sent, in bytes."""
        return self._link.max_frame

    def fileno(self) -> int:
        """The descriptor, to wait for along with others.  Reading is ahead: wait after ``recv(0)`` gave None."""
        return self._link.fileno()

    def recv(self, timeout: Optional[float] = None) -> Optional[bytes]:
        """The next frame that the machine sent; None when none came in ``timeout`` seconds (None: no end).

        Raises TapClosed once the interface is gone and all that came before was received; ProtocolError.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                events = select.POLLIN
                if self._link.unsent and not self._flushed():
                    events |= select.POLLOUT
                with self._receiving:
                    frame = self._link.try_recv()
                if frame is not None:
                    return frame
                if not self._wait(deadline, events):
                    return None
        except TapClosed as error:
            raise self._link.why(error) from error

    def send(self, frame: bytes, timeout: Optional[float] = None) -> None:
        """Sends one frame to the machine, waiting for room at most ``timeout`` seconds (None: no end).

        A frame is taken whole or not at all: what of one that was taken has not left in time goes with the next
        call of this or of :meth:`recv`.  Raises TimeoutError when none of it was taken, TapClosed, ValueError.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                with self._sending:
                    taken = self._link.try_send(frame)
                if taken:
                    break
                if not self._wait(deadline, select.POLLOUT):
                    raise TimeoutError("no room in time")
            while not self._flushed() and self._wait(deadline, select.POLLOUT):
                pass
        except TapClosed as error:
            raise self._link.why(error) from error

    def __iter__(self) -> Iterator[bytes]:
        """Frames until the interface is gone."""
        while True:
            try:
                frame = self.recv()
            except TapClosed:
                return
            if frame is not None:
                yield frame

    def _flushed(self) -> bool:
        with self._sending:
            return self._link.flush()

    def _wait(self, deadline: Optional[float], events: int) -> bool:
        fd = self._link.fileno()
        if fd < 0:
            raise TapClosed("the interface was closed by this program")
        return readable(fd, deadline, events)
