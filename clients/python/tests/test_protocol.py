"""The command plane's core, fed by hand."""

import _path  # noqa: F401
import json
import random
import unittest
from typing import Dict, List

from hypertap import CommandError, Event, EventKind, ProtocolError, StopReason, TunnelStopped
from hypertap.protocol import MAX_EVENTS, MAX_LINE, MAX_PENDING, LineSplitter, Session

GREETING = b'{"cmd":"event","event":"vpnApproved"}\n{"cmd":"event","event":"extensionApproved"}\n'


class LineSplitterTest(unittest.TestCase):
    def test_lines_come_out_the_same_however_the_bytes_are_cut(self) -> None:
        data = b'{"a":1}\r\n\n\r\n{"b":2}\n{"c":3}\0\0\r\nrest'
        for cut in range(len(data) + 1):
            splitter = LineSplitter()
            lines = splitter.feed(data[:cut]) + splitter.feed(data[cut:])
            self.assertEqual(lines, [b'{"a":1}', b'{"b":2}', b'{"c":3}'])
            self.assertEqual(splitter.feed(b"\n"), [b"rest"])

    def test_a_line_may_have_the_limit_and_no_more(self) -> None:
        self.assertEqual(LineSplitter(4).feed(b"1234\r\n"), [b"1234"])
        splitter = LineSplitter(4)
        splitter.feed(b"123")
        with self.assertRaises(ProtocolError):
            splitter.feed(b"456")


class SessionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.closed: List[int] = []
        self.session = Session(self.closed.append)

    def greet(self) -> Session:
        self.session.receive(GREETING)
        return self.session

    def submit(self, wants_fd: bool = False) -> int:
        return self.session.submit({"cmd": "status"}, wants_fd)[0]

    def test_the_greeting_sets_both_rights_and_is_no_news(self) -> None:
        self.session.receive(b'{"cmd":"event","event":"vpnPending"}\n')
        self.assertFalse(self.session.greeted)
        self.session.receive(b'{"cmd":"event","event":"extensionApproved"}\n')
        self.assertTrue(self.session.greeted)
        self.assertEqual((self.session.vpn_approved, self.session.extension_approved), (False, True))
        self.assertIsNone(self.session.take_event(()))
        self.session.receive(b'{"cmd":"event","event":"vpnDenied"}\n{"cmd":"event","event":"vpnApproved"}\n')
        self.assertEqual(self.session.take_event(()), Event(EventKind.VPN_DENIED, "vpnDenied"))
        self.assertTrue(self.session.vpn_approved)

    def test_a_failure_instead_of_a_greeting_is_the_daemon_turning_us_away(self) -> None:
        self.session.receive(b'{"ok":false,"error":"Another client is already connected"}\n')
        with self.assertRaisesRegex(CommandError, "Another client"):
            self.session.check()

    def test_a_command_is_one_line_with_an_id(self) -> None:
        ident, line = self.greet().submit({"cmd": "getName", "x": "a\nb"})
        self.assertTrue(line.endswith(b"\n"))
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(json.loads(line), {"cmd": "getName", "x": "a\nb", "id": ident})

    def test_replies_are_matched_by_order_with_or_without_ids(self) -> None:
        session = self.greet()
        first, second, third = self.submit(), self.submit(), self.submit()
        session.receive(b'{"ok":true,"n":1}\n{"cmd":"event","event":"tunnelStarted"}\n{"ok":true,"n":2,"id":%d}\n' % second)
        self.assertIsNone(session.take_reply(third))
        for ident, number in ((second, 2), (first, 1)):
            reply = session.take_reply(ident)
            assert reply is not None
            self.assertEqual(reply.check()["n"], number)
        self.assertTrue(session.running)

    def test_a_failure_carries_its_text_and_code(self) -> None:
        ident = (self.greet(), self.submit())[1]
        self.session.receive(b'{"ok":false,"error":"no","code":7}\n')
        reply = self.session.take_reply(ident)
        assert reply is not None
        with self.assertRaises(CommandError) as caught:
            reply.check()
        self.assertEqual((caught.exception.error, caught.exception.code), ("no", 7))

    def test_every_stop_reason_is_read_and_a_strange_one_is_unknown(self) -> None:
        session = self.greet()
        self.assertEqual(len(StopReason), 16)
        words: Dict[str, StopReason] = {reason.value: reason for reason in StopReason}
        for word, reason in {**words, "martians": StopReason.UNKNOWN}.items():
            session.receive(b'{"cmd":"event","event":"tunnelStarted"}\n')
            self.assertIsNone(session.stop_reason)
            session.receive(json.dumps({"cmd": "event", "event": "tunnelStopped", "reason": word}).encode() + b"\n")
            self.assertEqual(session.stop_reason, reason)
            error = session.stopped_error()
            assert isinstance(error, TunnelStopped)
            self.assertEqual(error.reason, reason)
        self.assertIn("currentUserchanged", words)

    def test_an_event_of_a_newer_daemon_is_passed_on_by_name(self) -> None:
        self.greet().receive(b'{"cmd":"event","event":"moonRisen","reason":"x"}\n{"cmd":"event"}\n')
        self.assertEqual(self.session.take_event(()), Event(EventKind.OTHER, "moonRisen"))
        self.assertEqual(self.session.take_event(()), Event(EventKind.OTHER, ""))
        self.assertIsNone(self.session.failure)

    def test_unread_events_are_bounded_and_the_loss_is_counted(self) -> None:
        self.greet().receive(b'{"cmd":"event","event":"tunnelStarted"}\n' * (MAX_EVENTS + 3))
        self.assertEqual((len(self.session.events), self.session.events_lost), (MAX_EVENTS, 3))

    def test_unanswered_commands_are_bounded(self) -> None:
        self.greet()
        for _ in range(MAX_PENDING):
            self.submit()
        with self.assertRaises(ProtocolError):
            self.submit()

    def test_a_command_longer_than_a_line_is_not_sent(self) -> None:
        with self.assertRaises(ValueError):
            self.greet().submit({"cmd": "addIncludedRoutes", "routes": ["1.2.3.4"] * (MAX_LINE // 8)})
        ident = self.submit()
        self.session.receive(b'{"ok":true}\n')
        self.assertIsNotNone(self.session.take_reply(ident))

    def test_whatever_is_no_protocol_ends_the_session_with_a_reason(self) -> None:
        for line in (
            b"HTTP/1.1 400 Bad Request",
            b"[1]",
            b"{}",
            b'{"ok":1}',
            b'{"ok":true}',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"ok":true,"x":' + b"9" * 10_000 + b"}",
            b"x" * (MAX_LINE + 2),
        ):
            session = Session(self.closed.append)
            session.receive(GREETING + line + b"\n")
            self.assertIsInstance(session.failure, ProtocolError, line[:40])

    def test_the_reply_of_another_command_ends_the_session(self) -> None:
        ident = (self.greet(), self.submit())[1]
        self.session.receive(b'{"ok":true,"id":%d}\n' % (ident + 1))
        self.assertIsInstance(self.session.failure, ProtocolError)

    def test_a_descriptor_goes_to_the_reply_that_wants_one_even_in_pieces(self) -> None:
        session = self.greet()
        plain, wanting = self.submit(), self.submit(wants_fd=True)
        session.receive(b'{"ok":true}\n')
        session.receive(b'{"ok"', [77])
        session.receive(b":true}\n")
        first, second = session.take_reply(plain), session.take_reply(wanting)
        assert first is not None and second is not None
        self.assertEqual((first.fd, second.fd, self.closed), (None, 77, []))

    def test_descriptors_that_nobody_wants_are_closed(self) -> None:
        session = self.greet()
        self.submit()
        session.receive(b'{"ok":true}\n', [70])
        late = self.submit(wants_fd=True)
        session.abandon(late)
        session.receive(b'{"ok":true}\n', [71, 72])
        early = self.submit(wants_fd=True)
        session.receive(b'{"ok":true}\n', [73])
        session.abandon(early)
        self.assertEqual(self.closed, [70, 71, 72, 73])

    def test_random_junk_never_raises(self) -> None:
        chance = random.Random(1)
        pieces = [GREETING, b'{"ok":true}\n', b'{"ok":false,"error":5,"code":true}\n', b"\n", b"{", b'"', b"\0", b"}\n"]
        for _ in range(2000):
            session = Session(self.closed.append)
            session.submit({"cmd": "status"})
            for _ in range(chance.randrange(12)):
                junk = bytes(chance.randrange(256) for _ in range(chance.randrange(9)))
                session.receive(chance.choice(pieces + [junk]))


if __name__ == "__main__":
    unittest.main()
