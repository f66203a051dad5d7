"""The tap_answer example on asyncio; see hypertap.examples.tap_answer."""

from __future__ import annotations

import argparse
import asyncio
import sys

from hypertap import HypertapError
from hypertap.aio import TapInterface
from hypertap.examples.tap_answer import answer, arguments


def main() -> int:
    """0 after ``--count`` answered pings (or Ctrl-C), 1 when something fails or nothing comes in time."""
    args = arguments(__doc__)
    try:
        asyncio.run(serve(args))
        return 0
    except KeyboardInterrupt:
        return 0
    except (HypertapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


async def serve(args: argparse.Namespace) -> None:
    """The program itself."""
    made = TapInterface.open(**args.open) if args.open is not None else TapInterface.connect(**args.connect)
    async with await made as tap:
        print(f"ready: {tap.name or 'connected'}", flush=True)
        pings = 0
        while args.count is None or pings < args.count:
            frame = await tap.recv(args.timeout)
            if frame is None:
                raise TimeoutError("nothing came in time")
            reply = answer(frame, args.address)
            if reply is not None:
                await tap.send(reply)
                pings += reply[12:14] == b"\x08\x00"


if __name__ == "__main__":
    sys.exit(main())
