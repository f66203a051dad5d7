"""The commands of the daemon as values: what to send, and how to read the answer."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Callable, Dict, Generic, Iterable, List, Mapping, Optional, Tuple, TypeVar, Union

from .errors import ProtocolError
from .events import Event, Status
from .options import Address4, StartOptions, start_fields

Body = Mapping[str, object]
T = TypeVar("T")

Route = Union[str, IPv4Address, IPv6Address, IPv4Network, IPv6Network]
"""``"10.1.2.3"`` or ``"10.1.0.0/16"``, of either family.  A plain address is a host route."""


@dataclass(frozen=True)
class Command(Generic[T]):
    """A command, and the reading of a successful reply to it."""

    fields: Dict[str, object]
    read: Callable[[Body], T]

    @property
    def name(self) -> str:
        return str(self.fields.get("cmd"))


@dataclass(frozen=True)
class TrafficStats:
    """Counters of one direction since the tunnel started."""

    packets: int
    bytes: int
    dropped: Mapping[str, int]
    """Dropped packets by cause."""


@dataclass(frozen=True)
class Stats:
    """Both directions, named as the program sees them."""

    to_program: TrafficStats
    from_program: TrafficStats


@dataclass(frozen=True)
class PastEvent:
    """An event that the daemon remembers."""

    at: float
    """When, in seconds since the Unix epoch."""
    event: Event


@dataclass(frozen=True)
class Routes:
    """The routes in force, in the daemon's spelling (``addr/prefix``)."""

    included: Tuple[str, ...]
    excluded: Tuple[str, ...]


def simple(cmd: str) -> Command[None]:
    """A command without fields whose reply says no more than that it worked."""
    return Command({"cmd": cmd}, lambda body: None)


def raw(cmd: str, fields: Mapping[str, object]) -> Command[Dict[str, object]]:
    """Any command, its reply as it is."""
    return Command({**fields, "cmd": cmd}, dict)


def start(address: Address4, options: StartOptions) -> Command[Optional[str]]:
    """``start``; reads the ``dataPath`` of the reply."""
    fields = start_fields(address, options)
    return Command(fields, lambda body: _text(body, "dataPath") if "dataPath" in body else None)


def change_routes(cmd: str, routes: Iterable[Route]) -> Command[None]:
    """``addIncludedRoutes`` and its three sisters."""
    return Command({"cmd": cmd, "routes": [str(route) for route in routes]}, lambda body: None)


def status() -> Command[Status]:
    return Command({"cmd": "status"}, _read_status)


def name() -> Command[str]:
    return Command({"cmd": "getName"}, lambda body: _text(body, "name"))


def version() -> Command[str]:
    return Command({"cmd": "showVersion"}, lambda body: _text(body, "version"))


def stats() -> Command[Stats]:
    return Command({"cmd": "stats"}, _read_stats)


def past_events() -> Command[List[PastEvent]]:
    return Command({"cmd": "events"}, _read_events)


def routes() -> Command[Routes]:
    return Command({"cmd": "routes"}, lambda body: Routes(_texts(body, "included"), _texts(body, "excluded")))


def _read_status(body: Body) -> Status:
    try:
        return Status(_text(body, "status"))
    except ValueError:
        return Status.UNKNOWN


def _read_stats(body: Body) -> Stats:
    both = _object(body, "stats")
    return Stats(_read_traffic(_object(both, "toProgram")), _read_traffic(_object(both, "fromProgram")))


def _read_traffic(body: Body) -> TrafficStats:
    dropped = _object(body, "dropped")
    return TrafficStats(
        _count(body, "packets"), _count(body, "bytes"), {cause: _count(dropped, cause) for cause in dropped}
    )


def _read_events(body: Body) -> List[PastEvent]:
    past = []
    for entry in _list(body, "events"):
        at = entry.get("at") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(at, (int, float)):
            raise _missing("events")
        past.append(PastEvent(float(at), Event.from_wire(entry)))
    return past


def _text(body: Body, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise _missing(key)
    return value


def _count(body: Body, key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int):
        raise _missing(key)
    return value


def _object(body: Body, key: str) -> Body:
    value = body.get(key)
    if not isinstance(value, dict):
        raise _missing(key)
    return value


def _list(body: Body, key: str) -> List[Any]:
    value = body.get(key)
    if not isinstance(value, list):
        raise _missing(key)
    return value


def _texts(body: Body, key: str) -> Tuple[str, ...]:
    values = _list(body, key)
    if not all(isinstance(value, str) for value in values):
        raise _missing(key)
    return tuple(values)


def _missing(key: str) -> ProtocolError:
    return ProtocolError(f"the daemon's reply has no usable {key!r}")
