"""The four ways in which packets travel between the daemon and the program.

A plane never blocks: ``try_recv`` and ``try_send`` say when there is nothing to do, and ``fileno`` is what to
wait for.  ``Tunnel`` and ``AsyncTunnel`` differ only in how they wait.

=========  ==========================================  =======================================================
name       what it is                                  good for
=========  ==========================================  =======================================================
``udp``    a datagram a packet on loopback             programs that only have UDP; packets may be lost
``unix``   a Unix seqpacket socket, a packet a message the simplest: whole, and in order
``stream`` a Unix stream: u16 length, packet           many packets a system call
``fd``     the kernel's TUN queue itself               the fastest: nothing between the program and the kernel
=========  ==========================================  =======================================================
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections import deque
from typing import Deque, Optional, Union

from . import channel
from .errors import HypertapError

MAX_PACKET = 65535
"""Longest packet in bytes (the UDP plane ends at 65507, and the interface's MTU comes before either)."""
DATA_PORT = 5501
RECEIVE_PORT = 5502

_VNET_HEADER = 12  # the longest struct virtio_net_hdr that precedes a packet under offload
_BUFFER = 4 << 20
_CHUNK = 256 * 1024
_COALESCE = 64 * 1024
_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)
_GONE = (
    errno.EPIPE,
    errno.ECONNRESET,
    errno.ENOTCONN,
    errno.ECONNREFUSED,
    errno.EBADF,
    getattr(errno, "EBADFD", errno.EBADF),
    errno.EIO,
    errno.EFAULT,
    errno.ENODEV,
)


class PlaneClosed(HypertapError):
    """The daemon's end of the data plane went away.  The tunnels turn it into the reason for that."""


class Plane(ABC):
    """One open data plane."""

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor to wait for."""

    @abstractmethod
    def try_recv(self) -> Optional[bytes]:
        """The next packet, or None when there is none yet.  Raises PlaneClosed."""

    @abstractmethod
    def try_send(self, packet: bytes) -> bool:
        """Takes the packet, or says False when there is no room.  Raises PlaneClosed, ValueError, OSError.

        What it took may wait for more to go out together: end a run of packets with :meth:`flush`.
        """

    def flush(self) -> bool:
        """Moves on what ``try_send`` took; False when there is still something left."""
        return True

    @abstractmethod
    def close(self) -> None:
        """Closes it; a second time does nothing."""


class _SocketPlane(Plane):
    """A data plane on a connected socket that keeps the boundaries of packets."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        # A seqpacket socket closed with something unread gives the daemon an error ahead of the last packets sent.
        if self._sock.family == socket.AF_UNIX and self._sock.fileno() >= 0:
            try:
                self._sock.shutdown(socket.SHUT_RDWR)
                while self._sock.recv(_CHUNK):
                    pass
            except OSError:
                pass  # the daemon was faster
        self._sock.close()

    def _recv(self, size: int) -> Optional[bytes]:
        try:
            return self._sock.recv(size)
        except OSError as error:
            _on_error(error)
            return None

    def _send(self, data: Union[bytes, bytearray]) -> int:
        """How many bytes went out; 0 when there is no room."""
        try:
            return self._sock.send(data)
        except OSError as error:
            _on_error(error)
            return 0


class UdpPlane(_SocketPlane):
    """A datagram a packet.  ``receive_port`` 0 takes any free port; see :attr:`receive_port`."""

    def __init__(
        self, receive_port: int = RECEIVE_PORT, data_port: int = DATA_PORT, host: str = "127.0.0.1"
    ) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)  # the kernel takes what it allows
            sock.bind((host, receive_port))
            sock.connect((host, data_port))  # so that nobody but the daemon can send us packets
        except OSError:
            sock.close()
            raise
        super().__init__(sock)

    @property
    def receive_port(self) -> int:
        """The port on which packets arrive."""
        port: int = self._sock.getsockname()[1]
        return port

    def try_recv(self) -> Optional[bytes]:
        try:
            return self._recv(MAX_PACKET)
        except PlaneClosed:  # an earlier datagram found the daemon's port closed
            return None

    def try_send(self, packet: bytes) -> bool:
        _check(packet)
        try:
            return self._send(packet) > 0
        except PlaneClosed:  # as above: this datagram has not been sent yet
            return self._send(packet) > 0


class SeqpacketPlane(_SocketPlane):
    """A message a packet, on a Unix seqpacket socket."""

    def __init__(self, path: channel.ControlPath, timeout: float = 15.0) -> None:
        super().__init__(channel.open_unix(path, socket.SOCK_SEQPACKET, timeout))

    def try_recv(self) -> Optional[bytes]:
        packet = self._recv(MAX_PACKET)
        if packet == b"":
            raise PlaneClosed("the daemon closed the data plane")
        return packet

    def try_send(self, packet: bytes) -> bool:
        _check(packet)
        return self._send(packet) > 0


class StreamPlane(_SocketPlane):
    """Packets behind their lengths (u16, big-endian) on a Unix stream; a system call moves many."""

    def __init__(self, path: channel.ControlPath, timeout: float = 15.0) -> None:
        super().__init__(channel.open_unix(path, socket.SOCK_STREAM, timeout))
        self._partial = b""
        self._packets: Deque[bytes] = deque()
        self._unsent = bytearray()

    def try_recv(self) -> Optional[bytes]:
        while not self._packets:
            data = self._recv(_CHUNK)
            if data is None:
                return None
            if not data:
                raise PlaneClosed("the daemon closed the data plane")
            self._split(self._partial + data)
        return self._packets.popleft()

    def _split(self, data: bytes) -> None:
        at = 0
        while len(data) - at >= 2:
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if end > len(data):
                break
            if end > at + 2:
                self._packets.append(data[at + 2 : end])
            at = end
        self._partial = data[at:]

    def try_send(self, packet: bytes) -> bool:
        _check(packet)
        if len(self._unsent) >= _COALESCE:
            self.flush()
            if len(self._unsent) >= _COALESCE:
                return False
        self._unsent += struct.pack("!H", len(packet)) + packet
        return True

    def flush(self) -> bool:
        if self._unsent:
            del self._unsent[: self._send(self._unsent)]
        return not self._unsent


class FdPlane(Plane):
    """The TUN queue's own descriptor.

    With ``offload`` every packet, read or written, starts with the kernel's ``struct virtio_net_hdr``, and may
    be a segment of up to 64 KiB without checksums: that is for programs that know what to do with it.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def try_recv(self) -> Optional[bytes]:
        try:
            packet = os.read(self._fd, MAX_PACKET + _VNET_HEADER)
        except OSError as error:
            _on_error(error)
            return None
        if not packet:
            raise PlaneClosed("the interface is gone")
        return packet

    def try_send(self, packet: bytes) -> bool:
        _check(packet, MAX_PACKET + _VNET_HEADER)
        try:
            return os.write(self._fd, packet) > 0
        except OSError as error:
            _on_error(error)
            return False

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _check(packet: bytes, limit: int = MAX_PACKET) -> None:
    if not 1 <= len(packet) <= limit:
        raise ValueError(f"a packet has 1 to {limit} bytes, this one has {len(packet)}")


def _on_error(error: OSError) -> None:
    """Returns for "not now", raises PlaneClosed for "never again", and the error itself for the rest."""
    if error.errno in _WOULD_BLOCK:
        return
    if error.errno in _GONE:
        raise PlaneClosed(str(error)) from error
    raise error
