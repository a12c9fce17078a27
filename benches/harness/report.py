"""Tables of what was measured, beside what is wanted."""
import platform
import subprocess
from dataclasses import dataclass
from typing import Callable

from . import build, passing
from .works import CROSSFADE, CROSSFADE_GAP, CROSSFADE_LOGIN, CROSSFADE_MANY, CROSSFADE_POLLING, CROSSFADE_SOCKETIO
from .works import HAPROXY, NCHAN, SOCKETIO, SOCKETIO_POLLING, Findings, Row


@dataclass
class Column:
    title: str
    figure: str
    digits: int = 1
    scale: float = 1.0


TITLES = {
    "fanout": "Fan-out: events of 200 bytes to all subscribers",
    "ceiling": "Ceiling of one core: the highest rate carried, p99 below 50 ms",
    "idle": "Idle WebSockets: memory of the server's processes for each",
    "storm": "Everybody connects at once",
    "longpoll": "Long-polling over Socket.IO: each client polls again after each answer",
    "stalled": "Stalled readers: what they cost the others, and the server",
    "topics": "Many topics, and one: what a delivery and a newcomer take",
    "polled": "Polled data: what the backend bears, and how old the data is",
    "passthrough": "Passed through: a request and its answer, on connections that are kept",
    "tls": "Passed through, over TLS",
    "sse": "Event streams passed through: one of the backend's for each client",
    "idletls": "Idle WebSockets over TLS: memory of the server's processes for each",
}
PASSING = [
    Column("CPU µs per request", "cpu_us_per_request"),
    Column("p50 ms", "p50_ms", 2),
    Column("p99 ms", "p99_ms", 2),
    Column("p99.9 ms", "p999_ms", 1),
    Column("requests/s", "requests_per_s", 0),
    Column("its core %", "cpu_share", 0, 100),
    Column("clients' core %", "load_cpu_share", 0, 100),
]
COLUMNS = {
    "fanout": [
        Column("CPU s per million", "cpu_s_per_million", 2),
        Column("p50 ms", "p50_ms"),
        Column("p99 ms", "p99_ms"),
        Column("delivered %", "delivered", 1, 100),
        Column("clients' core %", "load_cpu_share", 0, 100),
    ],
    "ceiling": [
        Column("deliveries/s", "deliveries_per_s", 0),
        Column("events/s", "rate", 0),
        Column("CPU s per million", "cpu_s_per_million", 2),
        Column("p99 ms", "p99_ms"),
        Column("newcomer p99 ms at 80 %", "join_p99_ms"),
        Column("answered %", "join_answered", 0, 100),
        Column("clients' core % beyond", "load_cpu_share", 0, 100),
    ],
    "idle": [Column("bytes each (PSS)", "bytes_per_connection", 0), Column("base MiB", "base_bytes", 1, 2**-20)],
    "storm": [
        Column("handshakes/s", "handshakes_per_s", 0),
        Column("p99 ms", "p99_ms", 0),
        Column("CPU µs each", "cpu_us_per_handshake", 0),
        Column("clients' core %", "load_cpu_share", 0, 100),
    ],
    "longpoll": [
        Column("CPU µs per poll", "cpu_us_per_poll", 1),
        Column("polls", "polls", 0),
        Column("deliveries", "deliveries", 0),
        Column("lost", "lost", 0),
        Column("p50 ms", "p50_ms"),
        Column("p99 ms", "p99_ms"),
        Column("clients' core %", "load_cpu_share", 0, 100),
    ],
    "stalled": [
        Column("others' p99 ms without", "alone_p99_ms"),
        Column("with", "p99_ms"),
        Column("times", "times", 2),
        Column("KiB per stalled reader, server", "peak_per_stalled", 1, 2**-10),
        Column("kernel", "kernel_per_stalled", 0, 2**-10),
        Column("of them closed", "stalled_closed", 0),
    ],
    "topics": [
        Column("CPU s per million", "cpu_s_per_million", 2),
        Column("p50 ms", "p50_ms"),
        Column("p99 ms", "p99_ms"),
        Column("delivered %", "delivered", 1, 100),
        Column("newcomer p50 ms", "join_p50_ms"),
        Column("newcomer p99 ms", "join_p99_ms"),
        Column("clients' core %", "load_cpu_share", 0, 100),
    ],
    "polled": [Column("requests/s at the backend", "backend_requests_per_s", 0), Column("mean age ms", "mean_age_ms", 0)],
    "passthrough": PASSING,
    "tls": PASSING,
    "sse": [
        Column("CPU s per million", "cpu_s_per_million", 2),
        Column("p50 ms", "p50_ms"),
        Column("p99 ms", "p99_ms"),
        Column("lost", "lost", 0),
        Column("KiB per client (PSS)", "bytes_per_client", 1, 2**-10),
        Column("clients' core %", "load_cpu_share", 0, 100),
    ],
    "idletls": [Column("bytes each (PSS)", "bytes_per_connection", 0), Column("base MiB", "base_bytes", 1, 2**-20)],
}
# Of crossfade (where it has several rows: of the raw protocol, of passing through) to the row's server.
RATIOS = {
    "fanout": [Column("CPU: crossfade ÷ it", "cpu_s_per_million", 2), Column("p99: crossfade ÷ it", "p99_ms", 2)],
    "ceiling": [Column("crossfade ÷ it", "deliveries_per_s", 2)],
    "idle": [Column("crossfade ÷ it", "bytes_per_connection", 2)],
    "storm": [Column("crossfade ÷ it", "handshakes_per_s", 2)],
    "longpoll": [Column("CPU: crossfade ÷ it", "cpu_us_per_poll", 2), Column("p99: crossfade ÷ it", "p99_ms", 2)],
    "stalled": [],
    "topics": [Column("CPU: crossfade ÷ it", "cpu_s_per_million", 2), Column("p99: crossfade ÷ it", "p99_ms", 2)],
    "polled": [Column("requests: crossfade ÷ it", "backend_requests_per_s", 4)],
    "passthrough": [Column("CPU: crossfade ÷ it", "cpu_us_per_request", 2), Column("p99: crossfade ÷ it", "p99_ms", 2)],
    "tls": [Column("CPU: crossfade ÷ it", "cpu_us_per_request", 2), Column("p99: crossfade ÷ it", "p99_ms", 2)],
    "sse": [Column("p50: crossfade ÷ it", "p50_ms", 2), Column("memory: crossfade ÷ it", "bytes_per_client", 2)],
    "idletls": [Column("crossfade ÷ it", "bytes_per_connection", 2)],
}


@dataclass
class Target:
    """What is wanted of a work at one size, as a number to stay below or above."""

    work: str
    size: str
    what: str
    limit: float
    above: bool
    value: Callable[[Findings, str], float | None]

    def line(self, findings: Findings) -> str:
        value = self.value(findings, self.size)
        if value is None:
            return f"| {self.work} {self.size} | {self.what} | {self._wanted()} | not measured | – |"
        met = value >= self.limit if self.above else value <= self.limit
        return f"| {self.work} {self.size} | {self.what} | {self._wanted()} | {value:.2f} | {'yes' if met else 'NO'} |"

    def _wanted(self) -> str:
        return f"{'≥' if self.above else '≤'} {self.limit:g}"


def _ratio(figure: str, peer: str, server: str | None = None) -> Callable[[Findings, str], float | None]:
    def value(findings: Findings, size: str) -> float | None:
        ours, theirs = (findings.median(size, name, figure) for name in (server or findings.ours, peer))
        return ours / theirs if ours is not None and theirs else None

    return value


def _figure(figure: str, scale: float = 1.0, server: str = CROSSFADE.name) -> Callable[[Findings, str], float | None]:
    def value(findings: Findings, size: str) -> float | None:
        found = findings.median(size, server, figure)
        return None if found is None else found * scale

    return value


def _against_socketio(figure: str) -> Callable[[Findings, str], float | None]:
    return _ratio(figure, SOCKETIO.name, CROSSFADE_SOCKETIO.name)


TARGETS = [
    Target("fanout", "1,000 × 100/s", "CPU ÷ nchan's", 0.8, False, _ratio("cpu_s_per_million", NCHAN.name)),
    Target("fanout", "1,000 × 100/s", "p99 ÷ nchan's", 1.0, False, _ratio("p99_ms", NCHAN.name)),
    Target("fanout", "5,000 × 10/s", "CPU ÷ nchan's", 0.9, False, _ratio("cpu_s_per_million", NCHAN.name)),
    Target("fanout", "5,000 × 10/s", "p99 ÷ nchan's", 1.0, False, _ratio("p99_ms", NCHAN.name)),
    *(
        Target("fanout", size, "Socket.IO: CPU ÷ socket.io's", 0.7, False, _against_socketio("cpu_s_per_million"))
        for size in ("1,000 × 50/s", "5,000 × 10/s")
    ),
    Target("ceiling", "1,000", "deliveries/s ÷ nchan's", 3.0, True, _ratio("deliveries_per_s", NCHAN.name)),
    Target("ceiling", "1,000", "p99 at the ceiling, ms", 50.0, False, _figure("p99_ms")),
    Target("ceiling", "1,000", "newcomer's handshake p99 at 80 %, ms", 100.0, False, _figure("join_p99_ms")),
    Target("ceiling", "1,000", "Socket.IO: deliveries/s ÷ socket.io's", 3.0, True, _against_socketio("deliveries_per_s")),
    Target("ceiling", "1,000", "Socket.IO: CPU ÷ socket.io's", 0.5, False, _against_socketio("cpu_s_per_million")),
    Target("ceiling", "1,000", "Socket.IO: p99 at the ceiling, ms", 50.0, False, _figure("p99_ms", 1, CROSSFADE_SOCKETIO.name)),
    Target("idle", "9,500", "KiB each, on its own path", 4.0, False, _figure("bytes_per_connection", 2**-10)),
    Target("idle", "9,500", "KiB each, PREFIX/ws", 4.0, False, _figure("bytes_per_connection", 2**-10, CROSSFADE_MANY.name)),
    Target("idle", "9,500", "memory ÷ haproxy's", 1.0, False, _ratio("bytes_per_connection", HAPROXY.name)),
    Target("idle", "9,500", "KiB each, Socket.IO", 8.0, False, _figure("bytes_per_connection", 2**-10, CROSSFADE_SOCKETIO.name)),
    Target("idle", "9,500", "KiB each, Socket.IO polling", 12.0, False, _figure("bytes_per_connection", 2**-10, CROSSFADE_POLLING.name)),
    Target("storm", "5,000", "handshakes/s ÷ nchan's", 1.0, True, _ratio("handshakes_per_s", NCHAN.name)),
    Target("storm", "5,000", "handshakes/s with a JWT ÷ nchan's", 0.8, True, _ratio("handshakes_per_s", NCHAN.name, CROSSFADE_LOGIN.name)),
    Target("storm", "5,000", "Socket.IO: connects/s ÷ socket.io's", 3.5, True, _against_socketio("handshakes_per_s")),
    *(
        Target("longpoll", size, "CPU per poll ÷ socket.io's", 0.6, False, _ratio("cpu_us_per_poll", SOCKETIO_POLLING.name))
        for size in ("1,000 × 5/s", "5,000 × 1/s")
    ),
    Target("stalled", "100 among 1,100", "the others' p99, times", 1.5, False, _figure("times")),
    Target("stalled", "100 among 1,100", "the others' p99, times (slow = gap)", 1.5, False, _figure("times", 1, CROSSFADE_GAP.name)),
    Target("stalled", "100 among 1,100", "MiB per stalled reader (slow = gap)", 1.1, False, _figure("peak_per_stalled", 2**-20, CROSSFADE_GAP.name)),
    Target("polled", "2,000", "requests/s at the backend", 11.0, False, _figure("backend_requests_per_s")),
    Target("polled", "2,000", "mean age, s", 0.06, False, _figure("mean_age_ms", 1e-3)),
    *(
        Target(work, f"{prefix}{body} × {clients}", "CPU ÷ nginx's", limit, False, _ratio("cpu_us_per_request", "nginx"))
        for work, prefix, limits in (
            ("passthrough", "", {"1 KB": 1.3, "64 KB": 1.1}),
            ("tls", "HTTP/1.1, ", {"1 KB": 1.3, "64 KB": 1.3}),
            ("tls", "HTTP/2, ", {"1 KB": 1.3, "64 KB": 1.3}),
        )
        for body, limit in limits.items()
        for clients in (64, 512)
    ),
    Target("passthrough", "64 KB × 64", "p99.9, ms", 35.0, False, _figure("p999_ms", 1, passing.OURS)),
    Target("sse", "2,000 × 10/s", "p50 ÷ nginx's", 1.0, False, _ratio("p50_ms", "nginx")),
    Target("sse", "2,000 × 10/s", "KiB per client", 8.0, False, _figure("bytes_per_client", 2**-10, passing.OURS)),
    Target("idletls", "4,750", "KiB each, bridging", 12.0, False, _figure("bytes_per_connection", 2**-10, passing.BRIDGE)),
    Target("idletls", "4,750", "KiB each, passing through", 12.0, False, _figure("bytes_per_connection", 2**-10, passing.OURS)),
]


def work_text(findings: Findings) -> str:
    columns, ratios = COLUMNS[findings.work], RATIOS[findings.work]
    titles = ["size", "server", *(column.title for column in columns + ratios)]
    lines = [f"### {TITLES[findings.work]}", "", _line(titles), "|" + "---|" * len(titles)]
    for row in findings.rows:
        if row.error:
            lines.append(_line([row.size, row.server, row.error, *[""] * (len(titles) - 3)]))
            continue
        cells = [_cell(row, column) for column in columns]
        cells += [_ratio_cell(findings, row, column) for column in ratios]
        lines.append(_line([row.size, row.server, *cells]))
    return "\n".join(lines) + "\n"


def summary(findings: list[Findings]) -> str:
    lines = ["| work | what | wanted | measured | reached |", "|---|---|---|---|---|"]
    for done in findings:
        lines += [target.line(done) for target in TARGETS if target.work == done.work]
    return "\n".join(lines) + "\n"


def whole(findings: list[Findings], missing: dict[str, str], busy: float, binaries: build.Binaries) -> str:
    parts = [
        "# Results",
        "Written by `benches/run`; README.md says what each work is and how it is measured.",
        _machine(busy),
        "\n".join(f"Not run: {name} ({why})." for name, why in missing.items()),
        "## Wanted and measured",
        summary(findings),
        "## All figures",
        "A cell with `a (b–c)` is the median, and the least and the greatest, of the rounds.",
        *(work_text(done) for done in findings),
    ]
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def _machine(busy: float) -> str:
    versions = {
        "kernel": f"{platform.release()} ({_congestion_control()})",
        "crossfade": _output("git", "-C", str(build.ROOT), "describe", "--always", "--dirty"),
        "rustc": _output("rustc", "--version").removeprefix("rustc "),
        "nginx": _package("nginx"),
        "nchan": _package("libnginx-mod-nchan"),
        "haproxy": _package("haproxy"),
        "node": _output("node", "--version"),
        "ws": _node_package("ws"),
        "socket.io": _node_package("socket.io"),
    }
    quiet = "quiet" if busy < 0.05 else f"NOT quiet ({busy:.0%} of both cores were busy with something else before the start)"
    return f"Machine: {_processor()}, two of its cores used, {quiet}.\nVersions: " + ", ".join(
        f"{name} {version}" for name, version in versions.items()
    ) + "."


def _processor() -> str:
    with open("/proc/cpuinfo") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())


def _congestion_control() -> str:
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        return file.read().strip()


def _package(name: str) -> str:
    return _output("dpkg-query", "--show", "--showformat=${Version}", name)


def _node_package(name: str) -> str:
    return _output("node", "-p", f"require('{build.HERE}/peers/node_modules/{name}/package.json').version")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "–"
    except FileNotFoundError:
        return "–"


def _cell(row: Row, column: Column) -> str:
    values = sorted(value * column.scale for value in row.figures.get(column.figure, []))
    if not values:
        return "–"
    middle = f"{row.median(column.figure) * column.scale:,.{column.digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({values[0]:,.{column.digits}f}–{values[-1]:,.{column.digits}f})"


def _ratio_cell(findings: Findings, row: Row, column: Column) -> str:
    ours, theirs = findings.median(row.size, findings.ours, column.figure), row.median(column.figure)
    return f"{ours / theirs:.{column.digits}f}" if ours is not None and theirs else "–"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
