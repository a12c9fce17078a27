"""The works at their sizes, and the order in which servers take turns."""
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field

from . import limits
from .servers import Stage

EVENT_BYTES = 200


@dataclass
class Row:
    """One server at one size. `figures` has a list per name: one value for each round."""

    size: str
    server: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    error: str = ""

    def add(self, reading: dict) -> None:
        self.error = self.error or reading.get("error", "")
        for name, value in reading.items():
            if isinstance(value, (int, float)):
                self.figures.setdefault(name, []).append(value)

    def median(self, name: str) -> float | None:
        values = self.figures.get(name)
        return statistics.median(values) if values else None


@dataclass
class Findings:
    work: str
    rows: list[Row]
    main_size: str
    # The row that ratios are taken of.
    ours: str = "crossfade, raw"

    def median(self, size: str, server: str, name: str) -> float | None:
        return next((row.median(name) for row in self.rows if (row.size, row.server) == (size, server)), None)


@dataclass
class Subject:
    """A server in one of its ways to be used."""

    name: str
    kind: str
    endpoint: str = "default"
    protocol: str | None = None
    stream: str | None = None
    # How the server is set up: for realtime, or to pass everything through, in the clear or over TLS.
    setting: str = "realtime"


CROSSFADE = Subject("crossfade, raw", "crossfade")
CROSSFADE_JSON = Subject("crossfade, json", "crossfade", protocol="json")
CROSSFADE_MANY = Subject("crossfade, PREFIX/ws", "crossfade", "many", "welcome")
CROSSFADE_LOGIN = Subject("crossfade, JWT", "crossfade", "login", None, "/events/login")
CROSSFADE_GAP = Subject("crossfade, slow = gap", "crossfade", "gap", None, "/events/gap")
CROSSFADE_TWO = Subject("crossfade, two workers", "crossfade2")
NCHAN = Subject("nchan", "nchan")
WS = Subject("ws", "ws")
SOCKETIO = Subject("socket.io", "socketio")
SOCKETIO_POLLING = Subject("socket.io, polling", "socketio", "polling", "polling")
CROSSFADE_SOCKETIO = Subject("crossfade, socket.io", "crossfadeio")
CROSSFADE_POLLING = Subject("crossfade, socket.io polling", "crossfadeio", "polling", "polling")
HAPROXY = Subject("haproxy, proxying", "haproxy")
BARE = Subject("bare writes", "bare")


def fanout(stage: Stage, quick: bool, _: int) -> Findings:
    sizes = [(100, 100), (1000, 10), (1000, 50), (1000, 100), (5000, 10), (5000, 100), (10_000, 10)]
    if quick:
        sizes = [(1000, 50), (1000, 100), (5000, 10)]
    both = [CROSSFADE_SOCKETIO, SOCKETIO]
    rows = []
    for clients, rate in sizes:
        overload = clients * rate > 200_000
        # What Node's socket.io still carries easily.
        is_theirs = (clients, rate) == (1000, 50)
        subjects = both if is_theirs else [CROSSFADE, CROSSFADE_JSON, *both, NCHAN, WS, BARE]
        rows += _take_turns(
            stage,
            subjects,
            f"{clients:,} × {rate}/s",
            1 if quick or overload else 3,
            "fanout",
            lambda server: {
                "server": server,
                "clients": clients,
                "rate": rate,
                "size": EVENT_BYTES,
                "warm_s": 0.5,
                "seconds": 2.0,
            },
        )
    for row in rows:
        clients = int(row.size.split()[0].replace(",", ""))
        due = row.median("published")
        if due:
            row.figures["delivered"] = [row.median("deliveries") / (due * clients)]
    return Findings("fanout", rows, "1,000 × 100/s")


def ceiling(stage: Stage, quick: bool, _: int) -> Findings:
    sizes = {1000: [CROSSFADE, NCHAN] if quick else [CROSSFADE, CROSSFADE_JSON, CROSSFADE_SOCKETIO, NCHAN, WS, SOCKETIO, BARE]}
    if not quick:
        sizes = {100: [CROSSFADE, NCHAN], **sizes, 5000: [CROSSFADE, NCHAN]}
    rows = []
    for clients, subjects in sizes.items():
        for subject in subjects:
            rows += _take_turns(
                stage,
                [subject],
                f"{clients:,}",
                1,
                "ceiling",
                lambda server: {
                    "server": server,
                    "clients": clients,
                    "size": EVENT_BYTES,
                    "from_rate": 25_000 / clients,
                    "growth": 1.4,
                    # One event alone takes tens of ms to be sent to thousands.
                    "max_p99_ms": max(50.0, clients * 0.05),
                    "seconds": 1.0,
                    "joins_per_s": 50.0,
                    "join_seconds": 1.0 if quick else 3.0,
                },
                flatten_ceiling,
            )
    return Findings("ceiling", rows, "1,000")


def flatten_ceiling(found: dict) -> dict:
    if "error" in found:
        return found
    if found["reading"] is None:
        return {"error": "not even the first rate was carried"}
    beyond = [step["load_cpu_share"] for step in found["steps"] if not step["carried"]]
    join = found["join"]
    return {
        "rate": found["rate"],
        **found["reading"],
        "join_p50_ms": join["p50_ms"],
        "join_p99_ms": join["p99_ms"],
        "join_answered": join["answered"] / join["asked"],
        "load_cpu_share": max(beyond, default=1.0),
    }


def idle(stage: Stage, quick: bool, descriptors: int) -> Findings:
    main = [CROSSFADE, CROSSFADE_JSON, CROSSFADE_MANY, HAPROXY, WS, NCHAN]
    main += [CROSSFADE_SOCKETIO, SOCKETIO, CROSSFADE_POLLING, SOCKETIO_POLLING]
    sizes = {950: main, 9500: main, 19_000: [CROSSFADE, NCHAN]}
    if quick:
        sizes = {9500: [CROSSFADE, CROSSFADE_MANY, CROSSFADE_SOCKETIO, CROSSFADE_POLLING, HAPROXY, NCHAN]}
    rows = []
    for clients, subjects in sizes.items():
        for subject in _able(subjects, clients, descriptors):
            rows += _take_turns(
                stage,
                [subject],
                f"{clients:,}",
                1,
                "idle",
                lambda server: {"server": server, "clients": clients, "settle_s": 2.0},
            )
    return Findings("idle", rows, "9,500")


def storm(stage: Stage, quick: bool, descriptors: int) -> Findings:
    subjects = [CROSSFADE, CROSSFADE_LOGIN, CROSSFADE_SOCKETIO, NCHAN, WS, SOCKETIO, HAPROXY]
    rows = []
    for clients in [5000] if quick else [500, 5000, 12_000]:
        rows += _take_turns(
            stage,
            _able(subjects, clients, descriptors),
            f"{clients:,}",
            3,
            "storm",
            lambda server: {"server": server, "clients": clients},
        )
    return Findings("storm", rows, "5,000")


def longpoll(stage: Stage, quick: bool, _: int) -> Findings:
    rows = []
    for clients, rate in [(1000, 5)] if quick else [(100, 50), (1000, 5), (5000, 1)]:
        rows += _take_turns(
            stage,
            [CROSSFADE_POLLING, SOCKETIO_POLLING],
            f"{clients:,} × {rate}/s",
            1 if quick else 3,
            "fanout",
            lambda server: {
                "server": server,
                "clients": clients,
                "rate": rate,
                "size": EVENT_BYTES,
                "warm_s": 1.0,
                "seconds": 4.0,
            },
        )
    return Findings("longpoll", rows, "1,000 × 5/s", CROSSFADE_POLLING.name)


def stalled(stage: Stage, quick: bool, _: int) -> Findings:
    ours = [CROSSFADE, CROSSFADE_GAP]
    growth = [CROSSFADE_GAP]
    sizes = [(1000, 100, ours)] if quick else [(100, 10, growth), (1000, 100, [*ours, NCHAN, WS]), (1000, 400, growth)]
    rows = []
    for readers, count, subjects in sizes:
        for subject in subjects:
            without, among = (_with_stalled(stage, subject, readers, count, number) for number in (0, count))
            for row, base in zip(among, without):
                row.error = row.error or base.error
                if not row.error:
                    row.figures["alone_p99_ms"] = base.figures["p99_ms"]
                    row.figures["times"] = [row.median("p99_ms") / base.median("p99_ms")]
                    for memory in ("peak", "kernel"):
                        growth = row.median(f"{memory}_growth_bytes") - base.median(f"{memory}_growth_bytes")
                        row.figures[f"{memory}_per_stalled"] = [max(growth, 0) / count]
            rows += among
    return Findings("stalled", rows, "100 among 1,100")


def _with_stalled(stage: Stage, subject: Subject, readers: int, count: int, stalled_now: int) -> list[Row]:
    return _take_turns(
        stage,
        [subject],
        f"{count:,} among {readers + count:,}",
        1,
        "stalled",
        lambda server: {
            "server": server,
            "readers": readers,
            "stalled": stalled_now,
            "fill": {"rate": 150, "size": 16_384, "seconds": 4.0},
            "measure": {"rate": 50, "size": EVENT_BYTES, "seconds": 3.0},
        },
        lambda suffered: {**suffered, **suffered.get("reading", {})},
    )


def polled(stage: Stage, quick: bool, _: int) -> Findings:
    rows = []
    for viewers in [2000] if quick else [200, 2000, 10_000]:
        row = Row(f"{viewers:,}", "polling each second")
        how = {"polling": {"address": stage.backend, "path": "/list", "every_s": 1.0}}
        row.add(stage.measure("polled", viewers=viewers, seconds=4.0, how=how))
        rows.append(row)
        rows += _take_turns(
            stage,
            [Subject("crossfade, raw", "crossfade", "list")],
            f"{viewers:,}",
            1,
            "polled",
            lambda server: {"viewers": viewers, "seconds": 4.0, "how": {"told": server["target"]}},
        )
    return Findings("polled", rows, "2,000")


def topics(stage: Stage, quick: bool, descriptors: int) -> Findings:
    """Topics, subscribers of each, subscriptions of a connection; the last two have the same deliveries a second."""
    sizes = [(10_000, 10, 50), (1, 19_000, 1)] if quick else [(1_000, 10, 50), (10_000, 10, 50), (1, 1_900, 1), (1, 19_000, 1)]
    subjects = [CROSSFADE, CROSSFADE_TWO, NCHAN]
    rows = []
    for count, subscribers, each in sizes:
        clients = count * subscribers // each
        filters = [None, '{"kind":["a","b"]}'] if count == 1 else [None]
        if clients + 1000 > descriptors:
            continue
        for wanted in filters:
            of = f"{count:,} × {subscribers:,}" + (", filtered" if wanted else "")
            due = 50_000 if subscribers * count > 15_000 else 5_000
            rows += _take_turns(
                stage,
                # nchan filters nothing.
                [subject for subject in subjects if not (wanted and subject is NCHAN)],
                of,
                1 if quick else 3,
                "topics",
                lambda server: {
                    "server": server,
                    "clients": clients,
                    "rate": due / subscribers,
                    "size": EVENT_BYTES,
                    "warm_s": 2.0,
                    "seconds": 4.0,
                    "newcomers": 100,
                },
                lambda reading: _delivered(reading, subscribers),
                lambda server, subject: server.topics(
                    "topics", "subs" if subject.kind.startswith("crossfade") else None, count, each, wanted
                ),
            )
    return Findings("topics", rows, "10,000 × 10")


def _delivered(reading: dict, subscribers: int) -> dict:
    if reading.get("published"):
        reading["delivered"] = reading["deliveries"] / (reading["published"] * subscribers)
    return reading


ALL = {work.__name__: work for work in (fanout, ceiling, idle, storm, longpoll, stalled, polled, topics)}


def _able(subjects: list[Subject], clients: int, descriptors: int) -> list[Subject]:
    """Those that may open enough files; a proxy has two sockets for each connection."""
    return [subject for subject in subjects if clients * (2 if subject is HAPROXY else 1) + 200 < descriptors]


def _take_turns(
    stage, subjects, size, rounds, work, arguments, flatten=lambda reading: reading, command=None
) -> list[Row]:
    """A work of the load generator, of all subjects in turn."""
    return take_turns(
        stage, subjects, size, rounds, lambda server: flatten(stage.measure(work, **arguments(server))), command or _command
    )


def _command(server, subject: Subject) -> dict:
    return server.command(subject.endpoint, subject.protocol, subject.stream)


def take_turns(stage, subjects, size, rounds, read, command=_command) -> list[Row]:
    """Starts all servers, then measures one after the other, `rounds` times over, so that a drift of the machine meets all."""
    subjects = [subject for subject in subjects if subject.kind in stage.kinds]
    rows = [Row(size, subject.name) for subject in subjects]
    with ExitStack() as running:
        servers = {}
        for subject, row in zip(subjects, rows):
            try:
                if subject.kind not in servers:
                    servers[subject.kind] = stage.start(subject.kind, subject.setting)
                    running.callback(servers[subject.kind].stop)
            except (OSError, RuntimeError) as error:
                row.error = str(error)
        for _ in range(rounds):
            for subject, row in zip(subjects, rows):
                if row.error:
                    continue
                server = servers[subject.kind]
                row.add(read(command(server, subject)))
                # Its clients have left; until it has parted from them all it would take time from the next one.
                limits.await_rest(server.process.pid)
                print(f"  {size} {subject.name} {row.error}", file=sys.stderr, flush=True)
    return rows
