"""What the blocking and the asyncio interface have in common: everything that waits for nothing."""

from __future__ import annotations

import errno
import os
import socket
from typing import List, Optional, Tuple, Union

from . import tap_program
from .errors import HypertapError
from .tap_frames import FrameStream

_CHUNK = 256 * 1024
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EBADF, errno.ENOTCONN)

Where = Union[str, int, "os.PathLike[str]"]


class TapClosed(HypertapError, ConnectionError):
    """The interface is gone, as is the connection to what made it."""


class TapLink:
    """A connected socket and the frames in it.

    A frame is taken whole or not at all; what of it the socket has no room for goes before everything else.
    """

    def __init__(
        self,
        sock: socket.socket,
        framing: str,
        mtu: int,
        program: Optional[tap_program.Program] = None,
        name: Optional[str] = None,
    ) -> None:
        self._frames = FrameStream(framing, mtu)
        sock.setblocking(False)
        self._sock = sock
        self._unsent = b""
        self._program = program
        self.name = name
        self.max_frame = self._frames.max_frame

    def fileno(self) -> int:
        """The descriptor to wait for; -1 once it is closed."""
        return self._sock.fileno()

    @property
    def unsent(self) -> bool:
        """Whether the rest of a frame waits for room."""
        return bool(self._unsent)

    def try_recv(self) -> Optional[bytes]:
        """The next frame, or None when there is none yet.  Raises TapClosed, ProtocolError."""
        while True:
            frame = self._frames.next()
            if frame is not None:
                return frame
            try:
                data = self._sock.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError as error:
                raise _closed(error) from error
            if not data:
                raise TapClosed("the server closed the connection")
            self._frames.feed(data)

    def try_send(self, frame: bytes) -> bool:
        """Takes the frame, or says False when there is no room.  Raises TapClosed, ValueError."""
        data = self._frames.encode(frame)
        if not self.flush():
            return False
        self._unsent = data
        if not self.flush() and len(self._unsent) == len(data):
            self._unsent = b""
            return False
        return True

    def flush(self) -> bool:
        """Moves on what was taken; False when there is still something left.  Raises TapClosed."""
        while self._unsent:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                self._unsent = b""
                raise _closed(error) from error
        return True

    def why(self, error: TapClosed) -> TapClosed:
        """The error with what the program says of it.  Waits for the program's end."""
        if self._program is None or self.fileno() < 0:
            return error
        return TapClosed(f"the interface is gone: {self._program.end()[1]}")

    def shut(self) -> None:
        """Ends the connection; who waits for it is woken."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
            # What is unread is read: the server may be told of a broken connection otherwise.
            for _ in range(64):
                if not self._sock.recv(_CHUNK):
                    break
        except OSError:
            pass  # it has ended already, or nothing is there
        self._sock.close()

    def close(self) -> None:
        """The same, and waits until the program has removed the interface."""
        self.shut()
        if self._program is not None:
            self._program.end()


def connect(where: Where, framing: str, mtu: int, timeout: float) -> TapLink:
    """Connects to a server.  Raises OSError, whose text says what to do; ValueError."""
    place = str(os.fspath(where)) if not isinstance(where, int) else str(where)
    FrameStream(framing, mtu)
    host, _, port = place.rpartition(":")
    if place.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        address: Union[str, Tuple[str, int]] = place
    elif port.isdigit():
        host = host.strip("[]") or "127.0.0.1"
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        address = (host, int(port))
    else:
        raise ValueError(f"{place!r} is no address: say an absolute path, a port of 127.0.0.1, or ADDR:PORT")
    try:
        sock.settimeout(timeout)
        sock.connect(address)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return TapLink(sock, framing, mtu)
    except OSError as error:
        sock.close()
        if error.errno is None:
            raise TimeoutError(f"no answer from {place}") from error
        raise type(error)(error.errno, f"{os.strerror(error.errno)}; {_remedy(error, place)}", place) from None
    except BaseException:
        sock.close()
        raise


def open_program(
    name: Optional[str],
    mac: Optional[str],
    ipv4: Optional[str],
    ipv6: Optional[str],
    mtu: int,
    program: Union[str, "os.PathLike[str]"],
    timeout: float,
) -> TapLink:
    """Makes an interface.  Raises TapRefused, TimeoutError, OSError."""
    wishes = (("name", name), ("mac-address", mac), ("ip-address", ipv4), ("ip6-address", ipv6))
    arguments: List[str] = [f"--mtu={mtu}"]
    arguments += [f"--{option}={value}" for option, value in wishes if value is not None]
    sock, running, made = tap_program.start(os.fspath(program), arguments, timeout)
    return TapLink(sock, "le16", mtu, running, made)


def _remedy(error: OSError, place: str) -> str:
    if isinstance(error, PermissionError):
        return "the socket is another user's: start the server with --socket-owner, --socket-group or --socket-mode"
    return f"start a server: sudo hypertap tap --listen={place} --use-framed-protocol"


def _closed(error: OSError) -> Exception:
    return TapClosed("the server closed the connection") if error.errno in _GONE else error
