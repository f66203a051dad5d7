"""A frame's length, as its content tells it: what a stream of bare frames is read by; no I/O.

===========================  =============================================================================
type, after all VLAN tags    length of what follows the header
===========================  =============================================================================
IPv4                         total length (RFC 791)
IPv6                         40 and the payload length (RFC 8200), jumbograms excepted
ARP, RARP, AARP              8 and twice both addresses' lengths (RFC 826)
up to 1500                   the type field itself (IEEE 802.3)
AppleTalk DDP, phase 1       the low ten bits of its header
IPX                          its length field
PPPoE                        6 and its length (RFC 2516)
EAPOL                        4 and its length (IEEE 802.1X)
LLDP                         up to the End TLV (IEEE 802.1AB)
MPLS                         the label stack (RFC 3032) and an IP packet
loopback                     46: its senders pad it to a frame of the least length
===========================  =============================================================================
"""

from __future__ import annotations

from typing import Callable, Dict

from .errors import ProtocolError

HEADER = 14
"""The length of an Ethernet header in bytes, without VLAN tags."""

_VLAN = (0x8100, 0x88A8)
_MOST_LENGTH = 1500  # in the type field
_LLC_HEADER = 3
_LEAST_PAYLOAD = 46


def frame_length(data: bytes, begin: int = 0) -> int:
    """The length that the content of the frame at ``begin`` says; one more byte than there is while that is unknown.

    Raises ProtocolError for what does not tell.
    """
    at = begin + HEADER
    try:
        kind = _u16(data, at - 2)
        while kind in _VLAN:
            at += 4
            kind = _u16(data, at - 2)
        if kind <= _MOST_LENGTH:
            return at - begin + _at_least(_LLC_HEADER, kind, kind)
        payload_length = _KINDS.get(kind)
        if payload_length is None:
            raise ProtocolError(f"a frame with EtherType {kind:#06x} does not tell its own length")
        return at - begin + payload_length(data, at, kind)
    except IndexError:
        return len(data) - begin + 1


def _u16(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _at_least(least: int, length: int, kind: int) -> int:
    if length < least:
        raise ProtocolError(f"a frame with EtherType {kind:#06x} and a length of {length} bytes, less than its header")
    return length


def _strange(kind: int) -> ProtocolError:
    return ProtocolError(f"a frame with EtherType {kind:#06x} before what is not that protocol's header")


def _ipv4(data: bytes, at: int, kind: int) -> int:
    header = (data[at] & 0x0F) * 4
    if data[at] >> 4 != 4 or header < 20:
        raise _strange(kind)
    return _at_least(header, _u16(data, at + 2), kind)


def _ipv6(data: bytes, at: int, kind: int) -> int:
    if data[at] >> 4 != 6:
        raise _strange(kind)
    length = _u16(data, at + 4)
    if length == 0:  # before a hop-by-hop header that is a jumbogram's (RFC 2675), or nonsense
        _at_least(1, data[at + 6], kind)
    return 40 + length


def _arp(data: bytes, at: int, kind: int) -> int:
    return 8 + 2 * (data[at + 4] + data[at + 5])


def _appletalk(data: bytes, at: int, kind: int) -> int:
    return _at_least(13, _u16(data, at) & 0x3FF, kind)


def _ipx(data: bytes, at: int, kind: int) -> int:
    return _at_least(30, _u16(data, at + 2), kind)


def _pppoe(data: bytes, at: int, kind: int) -> int:
    if data[at] != 0x11:
        raise _strange(kind)
    return 6 + _u16(data, at + 4)


def _eapol(data: bytes, at: int, kind: int) -> int:
    return 4 + _u16(data, at + 2)


def _lldp(data: bytes, at: int, kind: int) -> int:
    """Each TLV has 7 bits of type, then 9 of length; type 0 ends them."""
    end = at
    while True:
        tlv = _u16(data, end)
        end += 2 + (tlv & 0x1FF)
        if tlv == 0:
            return end - at
        if tlv >> 9 == 0:
            raise _strange(kind)


def _mpls(data: bytes, at: int, kind: int) -> int:
    """The third byte's lowest bit is set in the last label of the stack."""
    end = at + 4
    while data[end - 2] & 1 == 0:
        end += 4
    packet = {4: _ipv4, 6: _ipv6}.get(data[end] >> 4)
    if packet is None:
        raise ProtocolError(f"a frame with EtherType {kind:#06x} and no IP packet does not tell its own length")
    return end - at + packet(data, end, kind)


def _loopback(data: bytes, at: int, kind: int) -> int:
    return _LEAST_PAYLOAD


_KINDS: "Dict[int, Callable[[bytes, int, int], int]]" = {
    0x0800: _ipv4,
    0x86DD: _ipv6,
    0x0806: _arp,
    0x8035: _arp,
    0x80F3: _arp,
    0x809B: _appletalk,
    0x8137: _ipx,
    0x8847: _mpls,
    0x8848: _mpls,
    0x8863: _pppoe,
    0x8864: _pppoe,
    0x888E: _eapol,
    0x88CC: _lldp,
    0x9000: _loopback,
}
