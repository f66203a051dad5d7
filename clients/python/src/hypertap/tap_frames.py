"""Ethernet frames in a stream of bytes, in and out; no I/O.

========  ==================================================  ================================================
framing   what stands before a frame                          the server's option
========  ==================================================  ================================================
le16      its length in 16 bits, low byte first               ``--use-framed-protocol``, ``--framing=le16``
qemu      its length in 32 bits, high byte first              ``--framing=qemu``
unframed  nothing; a frame's content tells its length         ``--framing=unframed``
========  ==================================================  ================================================
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Deque, Optional

from .errors import ProtocolError

FRAMINGS = ("le16", "qemu", "unframed")
HEADER = 14
"""The length of an Ethernet header in bytes, without VLAN tags."""
MAX_FRAME = 65543
"""The longest frame in bytes: the largest MTU and its headers."""

_TAGS = 8  # two VLAN tags
_LENGTHS = {"le16": struct.Struct("<H"), "qemu": struct.Struct(">I")}
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN = (0x8100, 0x88A8)
_ARP = (0x0806, 0x8035)


class FrameStream:
    """Finds frames in what came, and makes the bytes of those that go."""

    def __init__(self, framing: str, mtu: int) -> None:
        if framing not in FRAMINGS:
            raise ValueError(f"there is no framing {framing!r}: use one of {', '.join(FRAMINGS)}")
        self._length = _LENGTHS.get(framing)
        self._partial = b""
        self._frames: Deque[bytes] = deque()
        self._fault: Optional[ProtocolError] = None
        most = 0xFFFF if framing == "le16" else MAX_FRAME
        self.max_frame = min(mtu + HEADER + _TAGS, most)
        """The longest frame that may be sent, in bytes."""

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of the stream."""
        data = self._partial + data
        at = 0
        while self._fault is None:
            try:
                begin, end = self._bounds(data, at)
            except ProtocolError as fault:
                self._fault = fault
                break
            if end > len(data):
                break
            self._frames.append(data[begin:end])
            at = end
        self._partial = data[at:]

    def next(self) -> Optional[bytes]:
        """The next frame that is whole.  Raises ProtocolError after the last one before what is no frame."""
        if self._frames:
            return self._frames.popleft()
        if self._fault is not None:
            raise self._fault
        return None

    def encode(self, frame: bytes) -> bytes:
        """The bytes of a frame.  Raises ValueError for one that cannot go."""
        if not HEADER <= len(frame) <= self.max_frame:
            raise ValueError(
                f"a frame of {len(frame)} bytes cannot be sent: {HEADER} to {self.max_frame} bytes can, "
                "by the MTU that was said"
            )
        if self._length is not None:
            return self._length.pack(len(frame)) + frame
        try:
            length = frame_length(frame)
        except ProtocolError as error:
            raise ValueError(f"{error}; use a framing with lengths") from None
        if length > len(frame):
            raise ValueError(f"a frame of {len(frame)} bytes says that it has {length}; use a framing with lengths")
        return bytes(frame[:length])  # padding would be taken for the next frame's beginning

    def _bounds(self, data: bytes, at: int) -> "tuple[int, int]":
        """Where the frame at ``at`` begins and ends; more than there is while that is not known."""
        if self._length is None:
            return at, at + frame_length(data[at : at + 128])
        begin = at + self._length.size
        if begin > len(data):
            return begin, begin
        (length,) = self._length.unpack_from(data, at)
        if not 0 < length <= MAX_FRAME:
            raise ProtocolError(f"a frame of {length} bytes: 1 to {MAX_FRAME} can be; is the framing another?")
        return begin, begin + length


def frame_length(data: bytes) -> int:
    """The length that a frame's content says, or one more byte than there is where that is still unknown.

    Raises ProtocolError for what does not tell: all but IPv4, IPv6, ARP, RARP and IEEE 802.3, with VLAN tags.
    """
    at = HEADER
    while at <= len(data) and _u16(data, at - 2) in _VLAN:
        at += 4
    if at > len(data):
        return len(data) + 1
    kind = _u16(data, at - 2)
    if kind <= 1500:
        return at + kind
    if kind not in (_IPV4, _IPV6, *_ARP):
        raise ProtocolError(f"a frame with EtherType {kind:#06x} does not tell its own length")
    if at + 6 > len(data):
        return len(data) + 1
    if kind == _IPV6:
        return at + 40 + _u16(data, at + 4)
    if kind in _ARP:
        return at + 8 + 2 * (data[at + 4] + data[at + 5])
    length = _u16(data, at + 2)
    if length < 20:
        raise ProtocolError(f"a frame with an IPv4 packet of {length} bytes")
    return at + length


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
