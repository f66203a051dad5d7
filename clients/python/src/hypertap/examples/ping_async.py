"""The ping example on asyncio; see hypertap.examples.ping."""

from __future__ import annotations

import argparse
import asyncio
import sys

from hypertap import AsyncTunnel, HypertapError
from hypertap.examples.ping import arguments, handle


def main() -> int:
    """0 after ``--count`` answers (or Ctrl-C), 1 when something fails or the time is over."""
    args = arguments(__doc__)
    try:
        asyncio.run(asyncio.wait_for(answer(args), args.timeout))
        return 0
    except KeyboardInterrupt:
        return 0
    except (HypertapError, OSError, asyncio.TimeoutError) as error:
        print(f"error: {error or 'the time is over'}", file=sys.stderr)
    return 1


async def answer(args: argparse.Namespace) -> None:
    """The program itself."""
    async with AsyncTunnel(args.host, args.port, control=args.control) as tunnel:
        await tunnel.start(
            args.address,
            address6=args.address6,
            data_plane=args.data_plane,
            receive_port=args.receive_port,
            data_port=args.data_port,
        )
        await tunnel.add_included_routes(*args.route)
        if args.dns:
            await tunnel.turn_on_dns()
        print(f"ready: {await tunnel.name()}", flush=True)

        answers = 0
        while args.count is None or answers < args.count:
            reply = handle(await tunnel.recv())
            if reply is not None:
                await tunnel.send(reply)
                answers += 1


if __name__ == "__main__":
    sys.exit(main())
