"""Answers every ping that is routed into the tunnel, and prints the DNS queries that it captures.

    python -m hypertap.examples.ping --route 10.9.0.0/24

Then, in another terminal, ``ping 10.9.0.7``: no such machine exists, this program answers.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Optional

from hypertap import HypertapError, Tunnel
from hypertap.packet import dns_query, echo_reply


def main() -> int:
    """0 after ``--count`` answers (or Ctrl-C), 1 when something fails or the time is over."""
    args = arguments(__doc__)
    try:
        return answer(args)
    except KeyboardInterrupt:
        return 0
    except (HypertapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def answer(args: argparse.Namespace) -> int:
    """The program itself."""
    with Tunnel(args.host, args.port, control=args.control) as tunnel:
        tunnel.start(
            args.address,
            address6=args.address6,
            data_plane=args.data_plane,
            receive_port=args.receive_port,
            data_port=args.data_port,
        )
        tunnel.add_included_routes(*args.route)
        if args.dns:
            tunnel.turn_on_dns()
        print(f"ready: {tunnel.name()}", flush=True)

        answers = 0
        deadline = None if args.timeout is None else time.monotonic() + args.timeout
        while args.count is None or answers < args.count:
            packet = tunnel.recv(None if deadline is None else max(0.0, deadline - time.monotonic()))
            reply = handle(packet)
            if reply is not None:
                tunnel.send(reply)
                answers += 1
        return 0


def handle(packet: bytes) -> Optional[bytes]:
    """The answer to one packet, if it wants one."""
    query = dns_query(packet)
    if query is not None:
        print(f"dns: {query.name} {query.type} asked of {query.server}", flush=True)
    return echo_reply(packet)


def arguments(description: Optional[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1", help="where the daemon is (%(default)s)")
    parser.add_argument("--port", type=int, default=5500, help="its command port (%(default)s)")
    parser.add_argument("--control", metavar="PATH", help="its Unix command socket, used instead of TCP")
    parser.add_argument("--data-plane", choices=("udp", "unix", "stream", "fd"), default="udp")
    parser.add_argument("--data-port", type=int, default=5501, help="its UDP data port (%(default)s)")
    parser.add_argument("--receive-port", type=int, help="our UDP port (5502; 0 for any free one)")
    parser.add_argument("--address", default="5.5.5.5", help="the interface's IPv4 address (%(default)s)")
    parser.add_argument("--address6", help="the interface's IPv6 address (none)")
    parser.add_argument("--route", action="append", default=[], help="send this into the tunnel; may repeat")
    parser.add_argument("--dns", action="store_true", help="capture the machine's DNS queries (unanswered!)")
    parser.add_argument("--count", type=int, help="end after so many answers")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="fail after so long")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
