"""Reading and answering packets."""

import _path  # noqa: F401
import random
import struct
import unittest
from ipaddress import IPv4Address, IPv6Address
from typing import List

from hypertap import packet as p

PING = bytes.fromhex(  # 5.5.5.5 > 10.9.0.7: ICMP echo request, id 0x1234, seq 1, "abcdefg"
    "4500002300014000400126c005050505" "0a090007" "0800549d12340001" "61626364656667"
)


def ping6(destination: str = "fd00::7") -> bytes:
    source, target = IPv6Address("fd00::5").packed, IPv6Address(destination).packed
    message = b"\x80\0\0\0\x12\x34\0\1hello"
    pseudo = source + target + struct.pack("!IxxxB", len(message), p.ICMPV6)
    message = message[:2] + struct.pack("!H", p.checksum(pseudo + message)) + message[4:]
    return struct.pack("!IHBB", 6 << 28, len(message), p.ICMPV6, 64) + source + target + message


def udp(payload: bytes, port: int = 53) -> bytes:
    body = struct.pack("!HHHH", 4000, port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, p.UDP, 0)
    return head + IPv4Address("5.5.5.5").packed + IPv4Address("9.9.9.9").packed + body


def question(name: bytes, kind: int = 1, flags: int = 0x0100, count: int = 1) -> bytes:
    return struct.pack("!HHHHHH", 7, flags, count, 0, 0, 0) + name + struct.pack("!HH", kind, 1)


SAMPLES: List[bytes] = [PING, ping6(), udp(question(b"\3www\7example\0"))]


class EchoTest(unittest.TestCase):
    def test_a_ping_is_answered_with_its_addresses_swapped_and_right_checksums(self) -> None:
        self.assertEqual(p.checksum(PING[20:]), 0, "the sample itself")
        reply = p.echo_reply(PING)
        assert reply is not None
        read = p.parse(reply)
        assert read is not None
        self.assertEqual((str(read.source), str(read.destination)), ("10.9.0.7", "5.5.5.5"))
        self.assertEqual(read.payload[:1] + read.payload[4:], b"\0" + PING[24:])
        self.assertEqual((p.checksum(reply[:20]), p.checksum(read.payload)), (0, 0))
        self.assertEqual(len(reply), len(PING))

    def test_an_ipv6_ping_is_answered(self) -> None:
        reply = p.echo_reply(ping6())
        assert reply is not None
        read = p.parse(reply)
        assert read is not None
        self.assertEqual((str(read.source), str(read.destination)), ("fd00::7", "fd00::5"))
        self.assertEqual(read.payload[:2] + read.payload[4:], b"\x81\0" + ping6()[44:])
        pseudo = reply[8:40] + struct.pack("!IxxxB", len(read.payload), p.ICMPV6)
        self.assertEqual(p.checksum(pseudo + read.payload), 0)

    def test_what_is_no_sound_ping_is_not_answered(self) -> None:
        flipped = PING[:-1] + bytes([PING[-1] ^ 1])
        fragment = PING[:6] + b"\x20\0" + PING[8:]
        reply = p.echo_reply(PING)
        assert reply is not None
        for junk in (b"", flipped, fragment, reply, PING[:-1], ping6("ff02::1"), udp(b"x" * 20)):
            self.assertIsNone(p.echo_reply(junk))

    def test_padding_behind_the_packet_is_not_payload(self) -> None:
        self.assertEqual(p.echo_reply(PING + b"padding"), p.echo_reply(PING))


class ParseTest(unittest.TestCase):
    def test_ipv6_extension_headers_are_walked(self) -> None:
        inner = ping6()
        options = bytes([p.ICMPV6, 1]) + bytes(14)
        packet = inner[:4] + struct.pack("!HB", len(inner) - 40 + 16, 60) + inner[7:40] + options + inner[40:]
        read = p.parse(packet)
        assert read is not None
        self.assertEqual((read.protocol, read.payload, read.fragment), (p.ICMPV6, inner[40:], False))
        self.assertIsNotNone(p.echo_reply(packet))

    def test_an_ipv6_fragment_says_so(self) -> None:
        inner = ping6()
        header = bytes([p.ICMPV6, 0, 0, 1, 0, 0, 0, 9])
        packet = inner[:4] + struct.pack("!HB", len(inner) - 32, 44) + inner[7:40] + header + inner[40:]
        read = p.parse(packet)
        assert read is not None
        self.assertTrue(read.fragment)
        self.assertIsNone(p.echo_reply(packet))

    def test_endless_extension_headers_end(self) -> None:
        body = bytes(8) * 1000
        packet = struct.pack("!IHBB", 6 << 28, len(body), 0, 64) + bytes(32) + body
        self.assertIsNotNone(p.parse(packet))


class DnsTest(unittest.TestCase):
    def query(self, name: bytes, kind: int = 1) -> str:
        query = p.dns_query(udp(question(name, kind)))
        return "none" if query is None else f"{query.name} {query.type}"

    def test_a_query_is_read(self) -> None:
        query = p.dns_query(SAMPLES[2])
        assert query is not None
        self.assertEqual((query.name, query.type, query.id), ("www.example.", "A", 7))
        self.assertEqual((str(query.source), query.source_port, str(query.server)), ("5.5.5.5", 4000, "9.9.9.9"))

    def test_names_print_without_surprises(self) -> None:
        self.assertEqual(self.query(b"\0", 28), ". AAAA")
        self.assertEqual(self.query(b"\4a.\\\n\1b\0", 4242), "a\\.\\\\\\010.b. TYPE4242")
        self.assertEqual(self.query(b"\2\x1b\xff\0"), "\\027\\255. A")

    def test_a_bad_name_is_no_query(self) -> None:
        for name in (b"\xc0\x0c", b"\x40" + b"a" * 64 + b"\0", (b"\x3f" + b"a" * 63) * 4 + b"\0", b"\x3fabc"):
            self.assertEqual(self.query(name), "none")

    def test_a_name_of_the_longest_length_is_read(self) -> None:
        name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"b" * 61 + b"\0"
        self.assertEqual(len(name), 255)
        self.assertTrue(self.query(name).endswith("b. A"))
        self.assertEqual(self.query(b"\1c" + name), "none")

    def test_answers_and_other_ports_are_no_queries(self) -> None:
        self.assertIsNone(p.dns_query(udp(question(b"\0", flags=0x8180))))
        self.assertIsNone(p.dns_query(udp(question(b"\0", count=0))))
        self.assertIsNone(p.dns_query(udp(question(b"\0"), port=5353)))


class JunkTest(unittest.TestCase):
    def test_no_bytes_raise(self) -> None:
        chance = random.Random(2)
        for _ in range(20_000):
            data = bytearray(chance.choice(SAMPLES))
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            junk = bytes(data[: chance.randrange(len(data) + 1)])
            p.parse(junk), p.echo_reply(junk), p.dns_query(junk)
            junk = bytes([chance.choice((0x45, 0x4F, 0x60))]) + chance.getrandbits(800).to_bytes(100, "big")
            p.parse(junk), p.echo_reply(junk), p.dns_query(junk)


if __name__ == "__main__":
    unittest.main()
