"""The asyncio client against a stand-in daemon."""

import _path  # noqa: F401
import asyncio
import inspect
import unittest
from typing import Any, Dict, Optional

from fake_daemon import FakeDaemon
from hypertap import AsyncTunnel, CommandError, Disconnected, EventKind, StopReason, Tunnel, TunnelStopped
from test_tunnel import PLANES, open_files


def connect(daemon: FakeDaemon, unix: bool = True, timeout: float = 5.0) -> AsyncTunnel:
    if unix:
        return AsyncTunnel(control=daemon.path, timeout=timeout)
    return AsyncTunnel(port=daemon.port, timeout=timeout)


async def start(tunnel: AsyncTunnel, daemon: FakeDaemon, plane: str) -> None:
    port = 0 if plane == "udp" else None
    await tunnel.start("5.5.5.5", data_plane=plane, receive_port=port, data_port=daemon.data_port)


class BothClientsTest(unittest.TestCase):
    def test_what_one_client_has_the_other_has_with_the_same_parameters_and_words(self) -> None:
        def public(client: type) -> Dict[str, Any]:
            return {name: getattr(client, name) for name in dir(client) if not name.startswith("_")}

        blocking, aio = public(Tunnel), public(AsyncTunnel)
        self.assertEqual(blocking.keys() | {"connect"}, aio.keys())
        for name in blocking.keys() - {"close"}:
            with self.subTest(name):
                self.assertEqual(inspect.getdoc(blocking[name]), inspect.getdoc(aio[name]))
                if callable(blocking[name]):
                    self.assertEqual(inspect.signature(blocking[name]), inspect.signature(aio[name]))
        self.assertEqual(inspect.signature(Tunnel), inspect.signature(AsyncTunnel))


class AsyncTunnelTest(unittest.IsolatedAsyncioTestCase):
    async def test_packets_go_and_come_whole_on_every_plane(self) -> None:
        packets = [b"\x45" + bytes([n % 251]) * (1 + n * 37 % 1499) for n in range(200)]
        for plane in PLANES:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon:
                async with connect(daemon) as tunnel:
                    await start(tunnel, daemon, plane)
                    for at in range(0, len(packets), 20):
                        await tunnel.send_many(packets[at : at + 20], 5)
                        self.assertEqual([await tunnel.recv(5) for _ in range(20)], packets[at : at + 20])
                    with self.assertRaises(TimeoutError):
                        await tunnel.recv(0.01)

    async def test_a_full_plane_makes_the_sender_wait_and_loses_nothing(self) -> None:
        for plane in PLANES[1:]:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon:
                async with connect(daemon) as tunnel:
                    await start(tunnel, daemon, plane)
                    packets = [bytes([n % 256]) * 1400 for n in range(3000)]
                    sender = asyncio.ensure_future(tunnel.send_many(packets, 20))
                    got = [await tunnel.recv(20) for _ in packets]
                    await sender
                    self.assertEqual(got, packets)

    async def test_commands_over_tcp_and_at_once(self) -> None:
        with FakeDaemon() as daemon:
            async with connect(daemon, unix=False) as tunnel:
                await start(tunnel, daemon, "udp")
                answers = await asyncio.gather(tunnel.name(), tunnel.version(), tunnel.name())
                self.assertEqual(answers, ["hypertap0", "1.2.3", "hypertap0"])
                await tunnel.add_excluded_routes("10.0.0.0/8")
                await tunnel.stop()
                self.assertIs(tunnel.stop_reason, StopReason.STOPPED_BY_USER)

    async def test_being_turned_away_says_why(self) -> None:
        with FakeDaemon(greeting=[{"ok": False, "error": "not permitted"}]) as daemon:
            with self.assertRaisesRegex(CommandError, "not permitted"):
                await connect(daemon, unix=False).connect()

    async def test_a_stop_wakes_the_receiver_on_every_plane(self) -> None:
        for plane in PLANES:
            with self.subTest(plane), FakeDaemon(unix=True) as daemon:
                async with connect(daemon) as tunnel:
                    for _ in range(2):
                        await start(tunnel, daemon, plane)
                        receiver = asyncio.ensure_future(tunnel.recv())
                        await asyncio.sleep(0)
                        daemon.stop("vpnDisabled")
                        with self.assertRaises(TunnelStopped) as caught:
                            await receiver
                        self.assertIs(caught.exception.reason, StopReason.VPN_DISABLED)

    async def test_iteration_ends_with_a_stop(self) -> None:
        with FakeDaemon(unix=True) as daemon:
            async with connect(daemon) as tunnel:
                await start(tunnel, daemon, "unix")
                await tunnel.send(b"one")
                got = []
                async for packet in tunnel:
                    got.append(packet)
                    await tunnel.stop()
                self.assertEqual(got, [b"one"])

    async def test_a_cancelled_receiver_loses_no_packet(self) -> None:
        with FakeDaemon(unix=True) as daemon:
            async with connect(daemon) as tunnel:
                await start(tunnel, daemon, "stream")
                receiver = asyncio.ensure_future(tunnel.recv())
                await asyncio.sleep(0)
                receiver.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await receiver
                await tunnel.send(b"kept")
                self.assertEqual(await tunnel.recv(5), b"kept")

    async def test_the_reply_to_a_cancelled_command_is_not_taken_for_the_next_one(self) -> None:
        with FakeDaemon(unix=True) as daemon:
            async with connect(daemon) as tunnel:
                daemon.hook = lambda command: {"version": "first"}
                cancelled = asyncio.ensure_future(tunnel.version())
                await asyncio.sleep(0)
                cancelled.cancel()

                def second(command: Dict[str, Any]) -> Optional[Dict[str, Any]]:
                    return {"version": "first" if command["id"] == 1 else "second"}

                daemon.hook = second
                self.assertEqual(await tunnel.version(), "second")

    async def test_an_end_by_either_side_wakes_everybody(self) -> None:
        for ours in (True, False):
            with self.subTest(ours), FakeDaemon(unix=True) as daemon:
                before = open_files()
                tunnel = connect(daemon)
                await tunnel.connect()
                await start(tunnel, daemon, "udp")
                daemon.hook = lambda command: {}
                waiting = [
                    asyncio.ensure_future(tunnel.recv()),
                    asyncio.ensure_future(tunnel.status()),
                    asyncio.ensure_future(tunnel.wait_event(EventKind.VPN_DENIED)),
                ]
                while len(daemon.commands) < 2:
                    await asyncio.sleep(0.001)
                if ours:
                    await tunnel.close()
                else:
                    daemon.hang_up()
                for error in await asyncio.gather(*waiting, return_exceptions=True):
                    self.assertIsInstance(error, Disconnected)
                await tunnel.close()
                daemon.threads[0].join(5)
                self.assertLessEqual(open_files(), before)


if __name__ == "__main__":
    unittest.main()
