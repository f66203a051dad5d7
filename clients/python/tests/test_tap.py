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
from typing import Any, List

import hypertap.aio
from hypertap import ProtocolError, TapClosed, TapInterface, TapRefused
from hypertap.tap_frames import MAX_FRAME, FrameStream, frame_length

HEADER = bytes(range(12))
FAR = 10.0


def ipv4(length: int) -> bytes:
    """A frame with an IPv4 packet of so many bytes."""
    return HEADER + b"\x08\x00\x45\x00" + length.to_bytes(2, "big") + bytes(length - 4)


def frames(count: int) -> List[bytes]:
    return [ipv4(20 + n * 37 % 1481) for n in range(count)]


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
            with self.assertRaises(TapClosed):
                tap.recv(FAR)
            tap.close()

    def test_an_absent_server_is_told_with_the_remedy(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "sudo hypertap tap --listen=/nowhere/tap"):
            TapInterface.connect("/nowhere/tap")
        for wrong in ("nowhere", "./tap", "localhost", ""):
            with self.assertRaisesRegex(ValueError, "absolute path"):
                TapInterface.connect(wrong)
        with self.assertRaisesRegex(ValueError, "no framing 'x'"):
            TapInterface.connect("/nowhere/tap", framing="x")

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

    def test_a_program_that_is_not_there_or_not_ready_is_told(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "install hypertap"):
            TapInterface.open(program="/nowhere/hypertap")
        begin = time.monotonic()
        with Script("exec cat") as program, self.assertRaisesRegex(TimeoutError, "not there after 0.05 s"):
            TapInterface.open(program=program, timeout=0.05)
        self.assertLess(time.monotonic() - begin, 4, "it ends with its socket, not by a signal")


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
                with self.assertRaises(TapClosed):
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
