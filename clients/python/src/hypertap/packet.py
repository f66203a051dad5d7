"""Reading IP packets and answering the simplest of them.

Every function takes any bytes and returns None for what it cannot read; none raises on junk.  Packet formats:
RFC 791 (IPv4), RFC 8200 (IPv6), RFC 792 and 4443 (echo), RFC 768 (UDP), RFC 1035 (DNS).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import List, Optional, Tuple, Union

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
DNS_PORT = 53

_EXTENSIONS = (0, 43, 60)  # IPv6 hop-by-hop, routing and destination options: all in the same form
_FRAGMENT = 44
_MAX_EXTENSIONS = 16
_HOPS = 64
_RECORD_TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 35: "NAPTR",
    43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 255: "ANY",
}  # fmt: skip

Address = Union[IPv4Address, IPv6Address]


@dataclass(frozen=True)
class IpPacket:
    """What an IP header says, and what follows it."""

    source: Address
    destination: Address
    protocol: int
    """The number of what the payload is, behind IPv6's extension headers: :data:`ICMP`, :data:`TCP`, ..."""
    payload: bytes
    fragment: bool
    """Whether this is a part of a larger packet; then the payload may start anywhere in it."""

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.source.version


@dataclass(frozen=True)
class DnsQuery:
    """The question of a DNS query over UDP."""

    source: Address
    source_port: int
    server: Address
    """The resolver to which the query was sent."""
    id: int
    name: str
    """With a dot at its end; bytes that are no plain character of a name as ``\\DDD``."""
    type: str
    """"A", "AAAA" and so on; "TYPE123" for a number without a name here."""


def parse(packet: bytes) -> Optional[IpPacket]:
    """The header and payload of an IPv4 or IPv6 packet; None when it is cut short or neither."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _parse_v4(packet)
    if version == 6:
        return _parse_v6(packet)
    return None


def echo_reply(packet: bytes) -> Optional[bytes]:
    """The answer to a ping, ready to be sent; None when the packet is no whole, sound echo request."""
    request = parse(packet)
    if request is None or request.fragment or request.destination.is_multicast or len(request.payload) < 8:
        return None
    kind, code = request.payload[0], request.payload[1]
    if request.version == 4 and request.protocol == ICMP and (kind, code) == (8, 0):
        if checksum(request.payload) != 0:
            return None
        message = _with_checksum(b"\0\0\0\0" + request.payload[4:], 2)
        return _header_v4(request.destination, request.source, ICMP, len(message)) + message
    if request.version == 6 and request.protocol == ICMPV6 and (kind, code) == (128, 0):
        pseudo = _pseudo_v6(request.source, request.destination, ICMPV6, len(request.payload))
        if checksum(pseudo + request.payload) != 0:
            return None
        pseudo = _pseudo_v6(request.destination, request.source, ICMPV6, len(request.payload))
        message = _with_checksum(pseudo + b"\x81\0\0\0" + request.payload[4:], len(pseudo) + 2)[len(pseudo) :]
        return _header_v6(request.destination, request.source, ICMPV6, len(message)) + message
    return None


def dns_query(packet: bytes) -> Optional[DnsQuery]:
    """The question of a DNS query over UDP to port 53; None for anything else.  (Queries over TCP are streams.)"""
    ip = parse(packet)
    if ip is None or ip.fragment or ip.protocol != UDP or len(ip.payload) < 8 + 12:
        return None
    source_port, port = struct.unpack_from("!HH", ip.payload)
    message = ip.payload[8:]
    ident, flags, questions = struct.unpack_from("!HHH", message)
    if port != DNS_PORT or flags & 0x8000 or questions == 0:
        return None
    name = _dns_name(message, 12)
    if name is None or len(message) < name[1] + 4:
        return None
    (number,) = struct.unpack_from("!H", message, name[1])
    kind = _RECORD_TYPES.get(number, f"TYPE{number}")
    return DnsQuery(ip.source, source_port, ip.destination, ident, name[0], kind)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071).  0 over data that includes its own right checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _parse_v4(packet: bytes) -> Optional[IpPacket]:
    if len(packet) < 20:
        return None
    header = (packet[0] & 15) * 4
    (total,) = struct.unpack_from("!H", packet, 2)
    (fragment,) = struct.unpack_from("!H", packet, 6)
    if header < 20 or not header <= total <= len(packet):
        return None
    return IpPacket(
        IPv4Address(packet[12:16]),
        IPv4Address(packet[16:20]),
        packet[9],
        packet[header:total],
        bool(fragment & 0x3FFF),  # more fragments, or an offset
    )


def _parse_v6(packet: bytes) -> Optional[IpPacket]:
    if len(packet) < 40:
        return None
    (length,) = struct.unpack_from("!H", packet, 4)
    rest, protocol, fragment = packet[40 : 40 + length], packet[6], False
    if len(rest) < length:
        return None
    for _ in range(_MAX_EXTENSIONS):
        if fragment or (protocol not in _EXTENSIONS and protocol != _FRAGMENT):
            break
        if len(rest) < 8:
            return None
        size = 8
        if protocol == _FRAGMENT:
            fragment = bool(struct.unpack_from("!H", rest, 2)[0] & 0xFFF9)
        else:
            size += rest[1] * 8
        if len(rest) < size:
            return None
        protocol, rest = rest[0], rest[size:]
    return IpPacket(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), protocol, rest, fragment)


def _dns_name(message: bytes, at: int) -> Optional[Tuple[str, int]]:
    """The name that starts there and the offset behind it.  A first question has nothing to point back to."""
    labels: List[str] = []
    size = 0
    while at < len(message):
        length = message[at]
        label = message[at + 1 : at + 1 + length]
        at += 1 + length
        size += 1 + length
        if length == 0:
            return "".join(label + "." for label in labels) or ".", at
        if length > 63 or size > 254 or len(label) < length:
            return None
        labels.append("".join(_dns_character(byte) for byte in label))
    return None


def _dns_character(byte: int) -> str:
    character = chr(byte)
    if character in ".\\":
        return "\\" + character
    return character if 0x21 <= byte <= 0x7E else f"\\{byte:03}"


def _with_checksum(data: bytes, at: int) -> bytes:
    """The data with its own checksum at this offset, where zeros are now."""
    return data[:at] + struct.pack("!H", checksum(data)) + data[at + 2 :]


def _header_v4(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, _HOPS, protocol, 0)
    return _with_checksum(header + source.packed + destination.packed, 10)


def _header_v6(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    return struct.pack("!IHBB", 6 << 28, length, protocol, _HOPS) + source.packed + destination.packed


def _pseudo_v6(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    return source.packed + destination.packed + struct.pack("!IxxxB", length, protocol)
