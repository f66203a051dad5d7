"""The blocking client against a stand-in daemon."""

import _path  # noqa: F401
import os
import socket
import tempfile
import threading
import time
import unittest
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Dict, List, Optional
from unittest import mock

from fake_daemon import GREETING, FakeDaemon
from hypertap import (
    CommandError,
    Disconnected,
    EventKind,
    ProtocolError,
    StartOptions,
    Status,
    StopReason,
    Tunnel,
    TunnelStopped,
)
from hypertap.planes import SeqpacketPlane, StreamPlane
from stuck_server import Stuck

PLANES = ("udp", "unix", "stream", "fd")


def connect(daemon: FakeDaemon, unix: bool, timeout: float = 5.0) -> Tunnel:
    return Tunnel(control=daemon.path, timeout=timeout) if unix else Tunnel(port=daemon.port, timeout=timeout)


def start(tunnel: Tunnel, daemon: FakeDaemon, plane: str) -> None:
    port = 0 if plane == "udp" else None
    tunnel.start("5.5.5.5", data_plane=plane, receive_port=port, data_port=daemon.data_port)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


class TunnelTest(unittest.TestCase):
    def test_a_daemon_that_does_not_accept_is_told_in_time(self) -> None:
        with Stuck() as path, self.assertRaisesRegex(TimeoutError, "does not accept the connection"):
            Tunnel(control=path, timeout=0.1)

    def test_packets_go_and_come_whole_on_every_plane(self) -> None:
        packets = [b"\x45" + bytes([n % 251]) * (1 + n * 37 % 1499) for n in range(200)]
        for plane in PLANES:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon, connect(daemon, True) as tunnel:
                start(tunnel, daemon, plane)
                for at in range(0, len(packets), 20):
                    tunnel.send_many(packets[at : at + 20], 5)
                    self.assertEqual([tunnel.recv(5) for _ in range(20)], packets[at : at + 20])
                with self.assertRaises(TimeoutError):
                    tunnel.recv(0.01)
                with self.assertRaises(ValueError):
                    tunnel.send(b"")

    def test_commands_and_questions_over_tcp(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            self.assertTrue(tunnel.vpn_approved and tunnel.extension_approved)
            start(tunnel, daemon, "udp")
            tunnel.add_included_routes("10.0.0.0/8", "::1")
            self.assertEqual((tunnel.name(), tunnel.version()), ("hypertap0", "1.2.3"))
            self.assertIs(tunnel.status(), Status.CONNECTED)
            sent = [{k: v for k, v in c.items() if k not in ("id", "receivePort")} for c in daemon.commands[:2]]
            self.assertEqual(sent[0], {"cmd": "start", "myIPv4Address": "5.5.5.5"})
            self.assertEqual(sent[1], {"cmd": "addIncludedRoutes", "routes": ["10.0.0.0/8", "::1"]})

    def test_answers_with_structure_are_read(self) -> None:
        one = {"packets": 1, "bytes": 84, "dropped": {"mtu": 2}}
        answers: Dict[str, Dict[str, Any]] = {
            "stats": {"stats": {"toProgram": one, "fromProgram": {**one, "packets": 9}}},
            "routes": {"included": ["10.0.0.0/8"], "excluded": []},
            "events": {"events": [{"at": 1.5, "event": "tunnelStopped", "reason": "vpnRemoved"}]},
            "help": {"commands": ["a"]},
        }
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            daemon.hook = lambda command: answers[command["cmd"]]
            stats = tunnel.stats()
            self.assertEqual((stats.to_program.dropped, stats.from_program.packets), ({"mtu": 2}, 9))
            self.assertEqual(tunnel.routes().included, ("10.0.0.0/8",))
            past = tunnel.past_events()[0]
            self.assertEqual((past.at, past.event.reason), (1.5, StopReason.VPN_REMOVED))
            self.assertEqual(tunnel.request("help")["commands"], ["a"])
            answers["stats"] = {"stats": {"toProgram": one}}
            with self.assertRaises(ProtocolError):
                tunnel.stats()

    def test_being_turned_away_says_why(self) -> None:
        with FakeDaemon(greeting=[{"ok": False, "error": "not permitted"}]) as daemon:
            with self.assertRaisesRegex(CommandError, "not permitted"):
                connect(daemon, False)

    def test_a_silent_server_times_out(self) -> None:
        with FakeDaemon(greeting=GREETING[:1]) as daemon, self.assertRaises(TimeoutError):
            connect(daemon, False, timeout=0.05)

    def test_nobody_there_says_where(self) -> None:
        with self.assertRaisesRegex(ConnectionRefusedError, "is `hypertap tunnel` running.*127.0.0.1:1'"):
            Tunnel(port=1)
        with self.assertRaisesRegex(FileNotFoundError, "/nowhere"):
            Tunnel(control="/nowhere")

    def test_a_refused_start_frees_the_port_and_may_be_tried_again(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            daemon.hook = lambda command: {"ok": False, "error": "no"}
            for _ in range(2):
                with self.assertRaises(CommandError):
                    tunnel.start("5.5.5.5", receive_port=port, data_port=daemon.data_port)
            daemon.hook = lambda command: None
            tunnel.start("5.5.5.5", receive_port=port, data_port=daemon.data_port)
            self.assertEqual(daemon.commands[-1]["receivePort"], port)

    def test_without_a_start_there_are_no_packets(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            with self.assertRaisesRegex(TunnelStopped, "call start"):
                tunnel.recv()
            with self.assertRaises(TunnelStopped):
                tunnel.send(b"x")

    def test_a_stop_wakes_the_receiver_on_every_plane_and_start_works_again(self) -> None:
        for plane in PLANES:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon, connect(daemon, True) as tunnel:
                for reason in (StopReason.VPN_DISABLED, StopReason.LOGGED_OUT):
                    start(tunnel, daemon, plane)
                    reasons = receive_in_thread(tunnel)
                    daemon.stop(reason.value)
                    self.assertEqual(reasons(), reason)
                    self.assertEqual(tunnel.stop_reason, reason)
                    with self.assertRaises(TunnelStopped):
                        tunnel.send(b"x")

    def test_the_end_of_a_data_plane_is_explained_by_the_event_that_follows(self) -> None:
        for plane in PLANES[1:]:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon, connect(daemon, True) as tunnel:
                start(tunnel, daemon, plane)
                daemon.close_data()
                reasons = receive_in_thread(tunnel)
                daemon.stop("vpnRemoved")
                self.assertEqual(reasons(), StopReason.VPN_REMOVED)

    def test_iteration_ends_with_a_stop_and_only_with_that(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            start(tunnel, daemon, "udp")
            tunnel.send(b"one")
            got = []
            for packet in tunnel:
                got.append(packet)
                tunnel.stop()
            self.assertEqual(got, [b"one"])
            start(tunnel, daemon, "udp")
            daemon.stop("tunnelFailed")
            with self.assertRaises(TunnelStopped):
                list(tunnel)

    def test_start_while_running_keeps_the_plane_even_with_a_receiver_waiting(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            start(tunnel, daemon, "udp")
            plane = tunnel.plane
            reasons = receive_in_thread(tunnel)
            start(tunnel, daemon, "udp")
            self.assertIs(tunnel.plane, plane)
            daemon.stop("stoppedByUser")
            reasons()

    def test_the_daemons_end_wakes_everybody(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            start(tunnel, daemon, "udp")
            daemon.hook = lambda command: {}
            errors: List[BaseException] = []
            threads = [
                threading.Thread(target=catch, args=(errors, call))
                for call in (tunnel.recv, tunnel.status, lambda: tunnel.wait_event(EventKind.VPN_DENIED))
            ]
            for thread in threads:
                thread.start()
            while len(daemon.commands) < 2:
                time.sleep(0.001)
            daemon.hang_up()
            for thread in threads:
                thread.join(5)
            self.assertEqual([type(error) for error in errors], [Disconnected] * 3)

    def test_closing_wakes_a_receiver_and_closes_every_file(self) -> None:
        for plane in PLANES:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon:
                before = open_files()
                tunnel = connect(daemon, True)
                start(tunnel, daemon, plane)
                errors: List[BaseException] = []
                thread = threading.Thread(target=catch, args=(errors, tunnel.recv))
                thread.start()
                tunnel.close()
                thread.join(5)
                self.assertIsInstance(errors[0], Disconnected)
                tunnel.close()
                daemon.close_data()
                for ended in daemon.threads:
                    if ended is not daemon.threads[1]:
                        ended.join(5)
                self.assertLessEqual(open_files(), before)

    def test_closing_with_packets_unread_does_not_cost_the_last_one_sent(self) -> None:
        for kind, plane in ((socket.SOCK_SEQPACKET, SeqpacketPlane), (socket.SOCK_STREAM, StreamPlane)):
            with self.subTest(plane.__name__), tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "data")
                with socket.socket(socket.AF_UNIX, kind) as listener:
                    listener.bind(path)
                    listener.listen(1)
                    ours = plane(path)
                    theirs, _ = listener.accept()
                with theirs:
                    theirs.send(b"\0\6unread")
                    self.assertTrue(ours.try_send(b"last") and ours.flush())
                    ours.close()
                    self.assertTrue(theirs.recv(100).endswith(b"last"))

    def test_a_late_reply_is_not_taken_for_the_next_one(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            daemon.hook = lambda command: {}
            with mock.patch.object(tunnel, "_timeout", 0.1), self.assertRaises(TimeoutError):
                tunnel.version()
            for _ in range(5000):
                if not daemon.commands:
                    time.sleep(0.001)
            late = daemon.commands[-1]["id"]

            def both(command: Dict[str, Any]) -> Optional[Dict[str, Any]]:
                daemon.say({"ok": True, "version": "late", "id": late})
                return None

            daemon.hook = both
            self.assertEqual(tunnel.version(), "1.2.3")

    def test_events_can_be_waited_for(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            daemon.say({"cmd": "event", "event": "vpnPending"}, {"cmd": "event", "event": "vpnApproved"})
            self.assertIs(tunnel.wait_event(EventKind.VPN_APPROVED, timeout=5).kind, EventKind.VPN_APPROVED)
            with self.assertRaises(TimeoutError):
                tunnel.wait_event(timeout=0.01)

    def test_the_options_of_start_reach_the_daemon_and_defaults_are_left_to_it(self) -> None:
        with FakeDaemon(unix=True) as daemon, connect(daemon, True) as tunnel:
            options: StartOptions = {
                "address6": IPv6Address("fd00::5"),
                "mtu": 1400,
                "name": "tun7",
                "data_plane": "fd",
                "offload": True,
                "follow_default_route": True,
            }
            tunnel.start(IPv4Address("5.5.5.5"), **options)
            tunnel.stop()
            tunnel.start("5.5.5.5", data_plane="stream", mtu=None, offload=False)
            first, _, second = daemon.commands
            self.assertEqual(
                {**first, "id": 0},
                {
                    "cmd": "start",
                    "id": 0,
                    "myIPv4Address": "5.5.5.5",
                    "myIPv6Address": "fd00::5",
                    "mtu": 1400,
                    "name": "tun7",
                    "dataPlane": "fd",
                    "offload": True,
                    "followDefaultRoute": True,
                },
            )
            self.assertEqual(
                {**second, "id": 0},
                {"cmd": "start", "id": 0, "myIPv4Address": "5.5.5.5", "dataPlane": "stream"},
            )

    def test_misuse_is_refused_before_anything_is_sent(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            with self.assertRaisesRegex(ValueError, "control="):
                tunnel.start("5.5.5.5", data_plane="fd")
            with self.assertRaises(ValueError):
                tunnel.start("5.5.5.5", data_plane="pigeon")
            with self.assertRaisesRegex(ValueError, "receive_port"):
                tunnel.start("5.5.5.5", data_plane="stream", receive_port=5502)
            with self.assertRaisesRegex(TypeError, "'adress6'.*address6"):
                tunnel.start("5.5.5.5", **{"adress6": "fd00::1"})  # type: ignore[arg-type]
            self.assertEqual(daemon.commands, [])

    def test_a_daemon_that_forgets_the_data_path_is_named(self) -> None:
        with FakeDaemon() as daemon, connect(daemon, False) as tunnel:
            daemon.hook = lambda command: {"ok": True}
            with self.assertRaisesRegex(ProtocolError, "stream data plane"):
                tunnel.start("5.5.5.5", data_plane="stream")


def catch(errors: List[BaseException], call: Any) -> None:
    try:
        call()
    except Exception as error:
        errors.append(error)


def receive_in_thread(tunnel: Tunnel) -> Any:
    """Waits for a packet in a thread; the function returned joins it and says with which reason that ended."""
    errors: List[BaseException] = []
    thread = threading.Thread(target=catch, args=(errors, tunnel.recv))
    thread.start()

    def reason() -> StopReason:
        thread.join(5)
        assert isinstance(errors[0], TunnelStopped), errors
        return errors[0].reason

    return reason


if __name__ == "__main__":
    unittest.main()
