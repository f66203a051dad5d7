"""The Ethernet interface, blocking and on asyncio, against a stand-in server and scripts in the program's place."""

import _path  # noqa: F401
import asyncio
import inspect
import os
import random
import socket
import tempfile
import threading
import time
import unittest
import warnings
from typing import Any, List

import hypertap.aio
from hypertap import ProtocolError, TapClosed, TapInterface, TapRefused
from hypertap.tap_frames import MAX_FRAME, FrameStream
from hypertap.tap_sizing import frame_length
from stuck_server import Stuck

HEADER = bytes(range(12))
FAR = 10.0


def ipv4(length: int) -> bytes:
    """A frame with an IPv4 packet of so many bytes."""
    return HEADER + b"\x08\x00\x45\x00" + length.to_bytes(2, "big") + bytes(length - 4)


def frames(count: int) -> List[bytes]:
    return [ipv4(20 + n * 37 % 1481) for n in range(count)]


def known_frames() -> List[bytes]:
    """A whole frame of each protocol whose length is known: those of the server's own tests."""

    def framed(kind: int, payload: bytes, tags: bytes = b"") -> bytes:
        return HEADER + tags + kind.to_bytes(2, "big") + payload

    def packet(length: int) -> bytes:
        return ipv4(length)[14:]

    def packet6(length: int) -> bytes:
        return b"\x60\0\0\0" + (length - 40).to_bytes(2, "big") + b"\x3b" + bytes(length - 7)

    arp = b"\0\x01\x08\0\x06\x04\0\x01" + bytes(20)
    lldp = b"\x02\x07" + b"\x04" * 7 + b"\x04\x03\x07\x08\x09" + b"\x06\x02\0\x78" + b"\0\0"
    return [
        framed(0x0800, packet(20)),
        framed(0x0800, packet(1500)),
        framed(0x86DD, packet6(40)),
        framed(0x86DD, packet6(1280)),
        framed(0x0806, arp),
        framed(0x8035, arp),
        framed(0x80F3, arp),
        framed(0x0800, packet(84), b"\x81\0\0\x07"),
        framed(0x86DD, packet6(60), b"\x88\xa8\0\x07\x81\0\xe0\x09"),
        framed(0x0806, arp, b"\x81\0\0\x01" * 40),
        framed(38, b"\x42\x42\x03" + bytes(35)),
        framed(1500, b"\xaa" * 1500, b"\x81\0\0\x01"),
        framed(0x809B, b"\x3d\x23" + bytes(0x123 - 2)),
        framed(0x8137, b"\xff\xff\0\x22" + bytes(30)),
        framed(0x8863, b"\x11\x09\0\0\0\x04" + bytes(4)),
        framed(0x8864, b"\x11\0\0\x01\0\x02" + bytes(2)),
        framed(0x888E, b"\x01\x01\0\0"),
        framed(0x888E, b"\x02\0\0\x05" + bytes(5)),
        framed(0x88CC, lldp),
        framed(0x8847, b"\0\x01\x01\x40" + packet(100)),
        framed(0x8848, b"\0\x01\0\x40\0\x02\x01\x40" + packet6(48)),
        framed(0x9000, bytes(46)),
    ]


class FramesTest(unittest.TestCase):
    def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(self) -> None:
        rolls = random.Random(7)
        for framing in ("le16", "qemu", "unframed"):
            for largest in (1, 3, 700, 5000):
                with self.subTest(framing, largest=largest):
                    stream, sent = FrameStream(framing, 1500), frames(60)
                    data = b"".join(stream.encode(frame) for frame in sent)
                    came: List[bytes] = []
                    while data:
                        cut = rolls.randint(1, largest)
                        stream.feed(data[:cut])
                        data = data[cut:]
                        came.extend(iter(stream.next, None))
                    self.assertEqual(came, sent)

    def test_the_lengths_are_those_of_the_protocol(self) -> None:
        self.assertEqual(FrameStream("le16", 1500).encode(bytes(0x102))[:2], b"\x02\x01")
        self.assertEqual(FrameStream("qemu", 1500).encode(bytes(0x102))[:4], b"\x00\x00\x01\x02")

    def test_what_cannot_go_is_refused_with_the_limit(self) -> None:
        stream = FrameStream("le16", 1500)
        for length in (0, 13, 1523):
            with self.assertRaisesRegex(ValueError, f"frame of {length} bytes .* 14 to 1522 bytes"):
                stream.encode(bytes(length))
        self.assertEqual(FrameStream("le16", 65521).max_frame, 65535)
        self.assertEqual(FrameStream("qemu", 65521).max_frame, MAX_FRAME)

    def test_what_is_no_frame_is_told_after_those_before_it(self) -> None:
        for framing, junk in (("le16", b"\0\0"), ("qemu", b"\0\2\0\0"), ("unframed", HEADER + b"\xab\xcd")):
            with self.subTest(framing):
                stream = FrameStream(framing, 1500)
                stream.feed(stream.encode(ipv4(20)) + junk)
                self.assertEqual(stream.next(), ipv4(20))
                for _ in range(2):
                    with self.assertRaises(ProtocolError):
                        stream.next()

    def test_a_frame_tells_its_own_length(self) -> None:
        arp = HEADER + b"\x08\x06\x00\x01\x08\x00\x06\x04"
        for frame, length in (
            (ipv4(46), 60),
            (HEADER + b"\x86\xdd\x60\0\0\0\0\x08", 14 + 40 + 8),
            (arp, 42),
            (HEADER + b"\x81\x00\x00\x07" + arp[12:], 46),
            (HEADER + b"\x88\xa8\x00\x01\x81\x00\x00\x07" + ipv4(40)[12:], 62),
            (HEADER + b"\x00\x26", 14 + 38),
        ):
            with self.subTest(frame.hex()):
                self.assertEqual(frame_length(frame), length)
                for end in range(1, min(len(frame), 14)):
                    self.assertGreater(frame_length(frame[:end]), end)

    def test_every_known_protocol_tells_its_length_whatever_follows(self) -> None:
        for frame in known_frames():
            with self.subTest(frame.hex()):
                self.assertEqual(frame_length(frame), len(frame))
                self.assertEqual(frame_length(bytes(3) + frame + b"\xff" * 9, 3), len(frame))
                for end in range(len(frame)):
                    self.assertIn(frame_length(frame[:end]), (end + 1, len(frame)))

    def test_frames_of_every_known_protocol_come_out_of_a_bare_stream(self) -> None:
        sent = known_frames()
        for cut in (1, 1000):
            stream = FrameStream("unframed", 1500)
            came: List[bytes] = []
            data = b"".join(stream.encode(frame) for frame in sent)
            for at in range(0, len(data), cut):
                stream.feed(data[at : at + cut])
                came.extend(iter(stream.next, None))
            self.assertEqual(came, sent)

    def test_a_length_shorter_than_its_header_or_a_strange_header_is_no_frame(self) -> None:
        for kind, payload in (
            (0x0800, b"\x45\0\0\0"),
            (0x0800, b"\x45\0\0\x13"),
            (0x0800, b"\x4f\0\0\x3b"),
            (0x0800, b"\x65\0\0\x14"),
            (0x0800, b"\x44\0\0\x14"),
            (0x86DD, b"\x60" + bytes(6)),
            (0x86DD, b"\x40\0\0\0"),
            (0x809B, b"\0\x0c"),
            (0x8137, b"\xff\xff\0\x1d"),
            (0x8847, b"\0\0\x01\0\x45\0\0\x08"),
            (0x8847, b"\0\0\x01\0\0"),
            (0x8863, b"\x21\0\0\0"),
            (0x88CC, b"\0\x01\0\0"),
            (0, b""),
            (2, b"\0\0"),
            (1501, bytes(64)),
            (0x88B5, bytes(64)),
        ):
            with self.subTest(hex(kind)), self.assertRaisesRegex(ProtocolError, f"EtherType {kind:#06x}"):
                frame_length(HEADER + kind.to_bytes(2, "big") + payload)

    def test_a_frame_that_never_ends_is_told_and_not_kept(self) -> None:
        stream = FrameStream("unframed", 1500)
        stream.feed(HEADER + b"\x81\x00\x00\x01" * (MAX_FRAME // 4))
        with self.assertRaisesRegex(ProtocolError, f"more than {MAX_FRAME} bytes"):
            stream.next()

    def test_without_lengths_padding_is_cut(self) -> None:
        stream = FrameStream("unframed", 1500)
        self.assertEqual(stream.encode(ipv4(30) + bytes(16)), ipv4(30))
        for bad in (ipv4(30)[:-1], HEADER + b"\xab\xcd" + bytes(50)):
            with self.assertRaisesRegex(ValueError, "framing with lengths"):
                stream.encode(bad)


class Server:
    """A stand-in server: its listening socket, and a connection to each client."""

    def __init__(self, tcp: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._socket = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        self._socket.bind(("127.0.0.1", 0) if tcp else os.path.join(self._folder.name, "tap"))
        self._socket.listen()
        self.where: Any = self._socket.getsockname()[1] if tcp else self._socket.getsockname()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._folder.cleanup()

    def accept(self) -> socket.socket:
        connection, _ = self._socket.accept()
        connection.settimeout(FAR)
        return connection


def read(connection: socket.socket, count: int) -> List[bytes]:
    """So many frames, after lengths of 16 bits."""
    stream = FrameStream("le16", 9000)
    came: List[bytes] = []
    while len(came) < count:
        data = connection.recv(5000)
        assert data, "the client closed the connection"
        stream.feed(data)
        came.extend(iter(stream.next, None))
    return came


def write(connection: socket.socket, sent: List[bytes]) -> None:
    stream = FrameStream("le16", 9000)
    connection.sendall(b"".join(stream.encode(frame) for frame in sent))


def narrow(interface: Any) -> None:
    """Makes the socket take long frames in parts."""
    interface._link._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


class Script:
    """A shell's script in the program's place."""

    def __init__(self, text: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.program = os.path.join(self._folder.name, "hypertap")
        with open(self.program, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        os.chmod(self.program, 0o755)

    def __enter__(self) -> str:
        return self.program

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


ECHO = "echo tap7; exec cat >&0"


class TapInterfaceTest(unittest.TestCase):
    def test_frames_go_and_come_and_nothing_in_time_is_none(self) -> None:
        for tcp in (False, True):
            with self.subTest(tcp=tcp), Server(tcp) as server, TapInterface.connect(server.where) as tap:
                with server.accept() as connection:
                    sent = frames(300)
                    writer = threading.Thread(target=write, args=(connection, sent))
                    writer.start()
                    self.assertEqual([tap.recv(FAR) for _ in sent], sent)
                    writer.join()
                    for timeout in (0, 0.01):
                        self.assertIsNone(tap.recv(timeout))
                    tap.send(sent[5])
                    self.assertEqual(read(connection, 1), [sent[5]])
                    self.assertEqual((tap.name, tap.max_frame), (None, 1522))

    def test_one_thread_sends_while_another_receives(self) -> None:
        with Script(ECHO) as program, TapInterface.open(program=program, mtu=9000) as tap:
            narrow(tap)
            sent = [bytes([n % 256]) * (14 + n * 97 % 9000) for n in range(1000)]

            def send() -> None:
                for frame in sent:
                    tap.send(frame)

            sender = threading.Thread(target=send)
            sender.start()
            self.assertEqual([tap.recv(FAR) for _ in sent], sent)
            sender.join()

    def test_a_send_that_is_given_up_tears_no_frame(self) -> None:
        with Server() as server, TapInterface.connect(server.where, mtu=9000) as tap, server.accept() as connection:
            narrow(tap)
            taken: List[bytes] = []
            with self.assertRaises(TimeoutError):
                while True:
                    tap.send(bytes([len(taken)]) * 9000, 0)
                    taken.append(bytes([len(taken)]) * 9000)
            self.assertTrue(tap._link.unsent)
            came: List[bytes] = []
            reader = threading.Thread(target=lambda: came.extend(read(connection, len(taken))))
            reader.start()
            while reader.is_alive():
                self.assertIsNone(tap.recv(0.01))
            self.assertEqual(came, taken)

    def test_the_end_comes_after_the_frames_before_it(self) -> None:
        with Server() as server, TapInterface.connect(server.where) as tap:
            with server.accept() as connection:
                write(connection, frames(3))
            self.assertEqual(list(tap), frames(3))
            with self.assertRaisesRegex(TapClosed, "the server closed the connection"):
                tap.recv()
            with self.assertRaisesRegex(TapClosed, "the server closed the connection"):
                tap.send(ipv4(20))

    def test_closing_wakes_who_waits_and_may_be_done_twice(self) -> None:
        with Server() as server, TapInterface.connect(server.where) as tap, server.accept():
            threading.Timer(0.05, tap.close).start()
            with self.assertRaisesRegex(TapClosed, "closed by this program"):
                tap.recv(FAR)
            tap.close()
            with self.assertRaisesRegex(TapClosed, "closed by this program"):
                tap.send(ipv4(20))

    def test_an_absent_server_is_told_with_the_remedy(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "sudo hypertap tap --listen=/nowhere/tap"):
            TapInterface.connect("/nowhere/tap")
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            for wrong in ("nowhere", "./tap", "localhost", "", "99999", 99999, -1, "\u00b2"):
                with self.subTest(wrong), self.assertRaisesRegex(ValueError, "absolute path"):
                    TapInterface.connect(wrong)
            with self.assertRaisesRegex(ValueError, "too long for a socket's path"):
                TapInterface.connect("/" + "x" * 107)
        with self.assertRaisesRegex(TypeError, "'frame'"):
            TapInterface.connect("/nowhere/tap", frame="x")  # type: ignore[call-arg]
        with self.assertRaisesRegex(ValueError, "no framing 'x'"):
            TapInterface.connect("/nowhere/tap", framing="x")

    def test_a_server_that_does_not_accept_is_told_in_time(self) -> None:
        with Stuck() as where:
            begin = time.monotonic()
            with self.assertRaisesRegex(TimeoutError, "does not accept the connection"):
                TapInterface.connect(where, timeout=0.1)
            self.assertGreaterEqual(time.monotonic() - begin, 0.1)

    def test_who_waits_for_room_connects_once_there_is_some(self) -> None:
        stuck = Stuck()
        with stuck as where:
            threading.Timer(0.05, stuck.accept).start()
            TapInterface.connect(where, timeout=FAR).close()

    def test_an_interface_that_is_opened_has_a_name_and_ends_with_the_block(self) -> None:
        with Script(ECHO) as program:
            before = len(os.listdir("/proc/self/fd"))
            with TapInterface.open(program=program) as tap:
                self.assertEqual(tap.name, "tap7")
                tap.send(ipv4(99))
                self.assertEqual(tap.recv(FAR), ipv4(99))
                process = tap._link._program._process.pid  # type: ignore[union-attr]
            self.assertFalse(os.path.exists(f"/proc/{process}"))
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_the_program_is_told_what_the_interface_is_to_be_and_its_last_sentence_is_the_error(self) -> None:
        words = "tap --fd=0 --print-name --framing=le16 --mtu=9000 --name=a --mac-address=02:00:00:00:00:09"
        words += " --ip-address=10.0.0.1/8 --ip6-address=fd00::1/64"
        with Script('echo "hypertap: $*" >&2; echo done >&2; exit 3') as program:
            with self.assertRaises(TapRefused) as caught:
                TapInterface.open(
                    program=program, name="a", mac="02:00:00:00:00:09", ipv4="10.0.0.1/8", ipv6="fd00::1/64", mtu=9000
                )
        self.assertEqual(str(caught.exception), f"cannot make the interface: {words}")
        self.assertEqual(caught.exception.code, 3)

    def test_a_program_that_is_lost_says_why(self) -> None:
        with Script("echo tap7; read x; echo 'hypertap: it broke' >&2; exit 6") as program:
            with TapInterface.open(program=program) as tap:
                tap.send(HEADER + b"\x08\x00\n")
                with self.assertRaisesRegex(TapClosed, "the interface is gone: it broke"):
                    tap.recv(FAR)

    def test_a_line_of_the_programs_log_is_no_reason(self) -> None:
        for end, wanted in (("kill -9 $$", "its program was killed"), ("exit 7", "ended with code 7 and gave no")):
            with Script(f"echo tap7; echo '2026-01-01T00:00:00Z INFO there' >&2; read x; {end}") as program:
                with TapInterface.open(program=program) as tap:
                    tap.send(HEADER + b"\x08\x00\n")
                    with self.assertRaisesRegex(TapClosed, f"the interface is gone: .*{wanted}"):
                        tap.recv(FAR)

    def test_a_program_that_is_not_there_or_not_ready_is_told(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "install hypertap"):
            TapInterface.open(program="/nowhere/hypertap")
        for text in ("exec sleep 60", "sleep 8; true"):  # what the shell starts outlives it
            begin = time.monotonic()
            with Script(text) as program, self.assertRaisesRegex(TimeoutError, "not there after 0.05 s"):
                TapInterface.open(program=program, timeout=0.05)
            self.assertLess(time.monotonic() - begin, 4, text)


class AsyncTapInterfaceTest(unittest.IsolatedAsyncioTestCase):
    def test_its_methods_are_those_of_the_blocking_one(self) -> None:
        def public(kind: type) -> Any:
            return {name for name in dir(kind) if not name.startswith("_")}

        blocking, aio = TapInterface, hypertap.aio.TapInterface
        self.assertEqual(public(blocking) - {"fileno"}, public(aio))
        for name in ("connect", "open", "recv", "send", "close"):
            self.assertEqual(
                inspect.signature(getattr(blocking, name)), inspect.signature(getattr(aio, name)), name
            )

    async def test_frames_go_and_come_and_nothing_in_time_is_none(self) -> None:
        with Server() as server:
            async with await hypertap.aio.TapInterface.connect(server.where) as tap:
                with server.accept() as connection:
                    write(connection, frames(50))
                    self.assertEqual([await tap.recv(FAR) for _ in range(50)], frames(50))
                    for timeout in (0, 0.01):
                        self.assertIsNone(await tap.recv(timeout))
                    await tap.send(ipv4(33))
                    self.assertEqual(read(connection, 1), [ipv4(33)])

    async def test_one_task_sends_while_another_receives(self) -> None:
        with Script(ECHO) as program:
            async with await hypertap.aio.TapInterface.open(program=program, mtu=9000) as tap:
                self.assertEqual(tap.name, "tap7")
                narrow(tap)
                sent = [bytes([n % 256]) * (14 + n * 97 % 9000) for n in range(1000)]

                async def send() -> None:
                    for frame in sent:
                        await tap.send(frame)

                sender = asyncio.ensure_future(send())
                self.assertEqual([await tap.recv(FAR) for _ in sent], sent)
                await sender
                process = tap._link._program._process.pid  # type: ignore[union-attr]
            self.assertFalse(os.path.exists(f"/proc/{process}"))

    async def test_a_cancelled_send_tears_no_frame_and_the_loop_sends_the_rest(self) -> None:
        with Server() as server:
            async with await hypertap.aio.TapInterface.connect(server.where, mtu=9000) as tap:
                narrow(tap)
                connection = server.accept()
                taken: List[bytes] = []
                while not tap._link.unsent:
                    frame = bytes([len(taken)]) * 9000
                    taken.append(frame)
                    sending = asyncio.ensure_future(tap.send(frame))
                    await asyncio.wait([sending], timeout=0.05)
                    sending.cancel()
                    await asyncio.wait([sending])
                loop = asyncio.get_running_loop()
                with connection:
                    self.assertEqual(await loop.run_in_executor(None, read, connection, len(taken)), taken)

    async def test_a_cancelled_receive_loses_nothing(self) -> None:
        with Server() as server:
            async with await hypertap.aio.TapInterface.connect(server.where) as tap:
                with server.accept() as connection:
                    for frame in frames(20):
                        receiving = asyncio.ensure_future(tap.recv())
                        await asyncio.sleep(0)
                        receiving.cancel()
                        write(connection, [frame])
                        self.assertEqual(await tap.recv(FAR), frame)

    async def test_a_time_limit_holds_while_another_task_waits(self) -> None:
        with Server() as server:
            async with await hypertap.aio.TapInterface.connect(server.where) as tap:
                with server.accept() as connection:
                    first = asyncio.ensure_future(tap.recv())
                    await asyncio.sleep(0)
                    for timeout in (0, 0.05):
                        self.assertIsNone(await asyncio.wait_for(tap.recv(timeout), FAR))
                    # Whoever is cancelled while it waits for its turn does not have it.
                    second, third = (asyncio.ensure_future(tap.recv()) for _ in range(2))
                    await asyncio.sleep(0)
                    second.cancel()
                    write(connection, frames(2))
                    self.assertEqual([await first, await third], frames(2))

                    async def fill() -> None:
                        while True:
                            await tap.send(ipv4(1400))

                    filling = asyncio.ensure_future(fill())
                    while not tap._waiters:
                        await asyncio.sleep(0)
                    for timeout in (0, 0.05):
                        with self.assertRaisesRegex(TimeoutError, "no room in time"):
                            await asyncio.wait_for(tap.send(ipv4(20), timeout), FAR)
                    filling.cancel()

    async def test_the_end_is_an_error_and_closing_wakes_who_waits(self) -> None:
        with Server() as server:
            tap = await hypertap.aio.TapInterface.connect(server.where)
            with server.accept() as connection:
                write(connection, frames(2))
            self.assertEqual([frame async for frame in tap], frames(2))
            with self.assertRaises(TapClosed):
                await tap.send(ipv4(20))
            await tap.close()

            tap = await hypertap.aio.TapInterface.connect(server.where)
            with server.accept():
                receiving = asyncio.ensure_future(tap.recv())
                await asyncio.sleep(0)
                await tap.close()
                with self.assertRaisesRegex(TapClosed, "closed by this program"):
                    await receiving
                await tap.close()

    async def test_what_cannot_be_opened_is_the_same_error(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "sudo hypertap tap"):
            await hypertap.aio.TapInterface.connect("/nowhere/tap")
        with Script("echo hypertap: no right >&2; exit 3") as program:
            with self.assertRaisesRegex(TapRefused, "cannot make the interface: no right"):
                await hypertap.aio.TapInterface.open(program=program)


if __name__ == "__main__":
    unittest.main()
