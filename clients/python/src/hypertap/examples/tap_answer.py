"""Plays a machine beside this one on an Ethernet interface: answers ARP for an address, and the pings to it.

    sudo hypertap tap --listen=/tmp/lan --use-framed-protocol
    python -m hypertap.examples.tap_answer --connect /tmp/lan

Then, in another terminal, ``ping 172.30.0.2``.
"""

from __future__ import annotations

import argparse
import sys
from ipaddress import IPv4Address
from typing import Optional

from hypertap import HypertapError, TapInterface
from hypertap.packet import echo_reply

_MAC = bytes.fromhex("020000000002")
_ARP_REQUEST = bytes.fromhex("08060001080006040001")


def main() -> int:
    """0 after ``--count`` answered pings (or Ctrl-C), 1 when something fails or nothing comes in time."""
    args = arguments(__doc__)
    try:
        with TapInterface.open(**args.open) if args.open is not None else TapInterface.connect(**args.connect) as tap:
            print(f"ready: {tap.name or 'connected'}", flush=True)
            pings = 0
            while args.count is None or pings < args.count:
                frame = tap.recv(args.timeout)
                if frame is None:
                    raise TimeoutError("nothing came in time")
                reply = answer(frame, args.address)
                if reply is not None:
                    tap.send(reply)
                    pings += reply[12:14] == b"\x08\x00"
        return 0
    except KeyboardInterrupt:
        return 0
    except (HypertapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def answer(frame: bytes, address: IPv4Address) -> Optional[bytes]:
    """What the machine answers to a frame, if it does."""
    ours, peer = address.packed, frame[6:12]
    if frame[12:22] == _ARP_REQUEST and frame[38:42] == ours:
        # RFC 826: who asked, and where; now it is told.
        return peer + _MAC + _ARP_REQUEST[:-1] + b"\x02" + _MAC + ours + frame[22:32]
    if frame[12:14] == b"\x08\x00" and frame[30:34] == ours:
        reply = echo_reply(frame[14:])
        return None if reply is None else peer + _MAC + frame[12:14] + reply
    return None


def arguments(description: Optional[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connect", metavar="WHERE", help="a server: a path, a port, or ADDR:PORT")
    parser.add_argument("--open", action="store_true", help="make the interface, as root")
    parser.add_argument("--name", help="its name")
    parser.add_argument("--program", default="hypertap", help="what makes it (%(default)s)")
    parser.add_argument("--framing", choices=("le16", "qemu", "unframed"), default="le16")
    parser.add_argument("--address", type=IPv4Address, default=IPv4Address("172.30.0.2"), help="(%(default)s)")
    parser.add_argument("--count", type=int, help="end after so many pings")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="fail when nothing comes for so long")
    args = parser.parse_args()
    if args.open == (args.connect is not None):
        parser.error("either --connect or --open")
    args.connect = {"where": args.connect, "framing": args.framing}
    args.open = {"name": args.name, "program": args.program} if args.open else None
    return args


if __name__ == "__main__":
    sys.exit(main())
