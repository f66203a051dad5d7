"""What ``start`` can be told.  Both clients take these options, and nothing else repeats them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Dict, Optional, TypedDict, Union

Address4 = Union[str, IPv4Address, IPv4Interface]
Address6 = Union[str, IPv6Address, IPv6Interface]

DATA_PLANES = ("udp", "unix", "stream", "fd")


class StartOptions(TypedDict, total=False):
    """The keyword arguments of :meth:`hypertap.Tunnel.start` and :meth:`hypertap.AsyncTunnel.start`.

    What is left out, or None, is the daemon's default.  ``options: StartOptions = {"mtu": 1400}`` keeps some for
    ``tunnel.start("5.5.5.5", **options)``.
    """

    address6: Optional[Address6]
    """The interface's IPv6 address; without it the interface has none."""
    mtu: Optional[int]
    """Bytes, 68 to 65507; at least 1280 with ``address6``.  The daemon's default is 1500."""
    name: Optional[str]
    """The interface's exact name, else the first free of hypertap0, hypertap1, …"""
    data_plane: str
    """How packets travel: "udp" (the default), "unix", "stream" or "fd"; see :mod:`hypertap.planes`."""
    receive_port: Optional[int]
    """With "udp": where packets arrive; 5502 by default, and 0 takes any free port."""
    data_port: int
    """With "udp": the daemon's data port, where packets go to; 5501 by default."""
    offload: bool
    """With "fd": each packet carries the kernel's virtio-net header; see :class:`hypertap.planes.FdPlane`."""
    follow_default_route: bool
    """Whether the tunnel stops when the machine's default route goes away or moves."""


def start_fields(address: Address4, options: StartOptions) -> Dict[str, object]:
    """The ``start`` command on the wire.  Only what differs from the daemon's defaults is sent.

    Raises TypeError for an option that there is not, ValueError for a data plane that there is not.
    """
    unknown = sorted(options.keys() - StartOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(StartOptions.__annotations__)
        raise TypeError(f"start has no option {unknown[0]!r}; there are {known}")
    data_plane = options.get("data_plane", "udp")
    if data_plane not in DATA_PLANES:
        raise ValueError(f"no such data plane: {data_plane!r}; there are {', '.join(DATA_PLANES)}")
    address6 = options.get("address6")
    fields: Dict[str, object] = {
        "myIPv6Address": None if address6 is None else str(address6),
        "mtu": options.get("mtu"),
        "name": options.get("name"),
        "dataPlane": None if data_plane == "udp" else data_plane,
        "receivePort": options.get("receive_port"),
        "offload": options.get("offload") or None,
        "followDefaultRoute": options.get("follow_default_route") or None,
    }
    said = {name: value for name, value in fields.items() if value is not None}
    return {"cmd": "start", "myIPv4Address": str(address), **said}
