"""Sends a corpus of odd requests to crossfade, nginx and haproxy, each before a backend that records raw bytes.

    run.py CROSSFADE [--record FILE] [--only NAME]

Prints what each of them did. Fails where crossfade did not do what the corpus says, let through anything that is
not exactly one request in canonical shape, or logged control bytes or credentials. A peer that is not installed is named and left out.
"""

import argparse
import asyncio
import base64
import hashlib
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
LANES = 4  # so many cases run at a time, each before proxies and a backend of its own
SETTLE = 0.04  # after the last byte of an answer: whether another one follows, or the backend sees more
PATIENCE = 0.5  # for the first byte of an answer where none need come
LONG = 15  # for an answer that has to come


# -- the corpus


class Case:
    def __init__(self, line):
        self.name, self.status, self.backend, text = re.split(r" {2,}", line.rstrip("\n"), maxsplit=3)
        self.request = decode(text)
        self.has_answer = self.status != "-"
        self.answers = max(1, len(self.backend.split(" + "))) if self.has_answer else 0
        self.keeps = b"keep" in self.request.replace(b"keep-alive", b"")


def corpus():
    lines = (HERE / "corpus.txt").read_text("utf-8").splitlines()
    return [Case(line) for line in lines if line.strip() and not line.startswith("#")]


def decode(text):
    text = re.sub(r"\{(\d+)×(.*?)\}", lambda m: m[2] * int(m[1]), text).replace("⏎", "\r\n")
    single = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
    out, at = b"", 0
    while at < len(text):
        if text[at] != "\\":
            out += text[at].encode()
            at += 1
        elif text[at + 1] == "x":
            out += bytes([int(text[at + 2 : at + 4], 16)])
            at += 4
        else:
            out += single[text[at + 1]]
            at += 2
    return out


# -- the backend


class Backend:
    """Answers whatever a forgiving server would take for a request, and keeps the bytes of each."""

    async def start(self):
        self.whole, self.open = [], {}
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        me = object()
        data = b""
        try:
            while True:
                size = lenient_size(data)
                if size is None:
                    self.open[me] = data
                    piece = await reader.read(65536)
                    if not piece:
                        break
                    data += piece
                    continue
                request, data = data[:size], data[size:]
                self.whole.append(request)
                writer.write(answer(request))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            if not data:
                self.open.pop(me, None)
            writer.close()

    def forget(self):
        self.whole, self.open = [], {}

    def saw(self):
        return self.whole, [rest for rest in self.open.values() if rest]


def lenient_size(data):
    """Where the first request ends for a backend that takes what it gets; None where more is to come."""
    end = re.search(rb"\r?\n\r?\n", data)
    if not end:
        return None
    head = data[: end.start()].lower()
    at = end.end()
    if re.search(rb"\ntransfer-encoding[ \t]*:[^\n]*chunked", head):
        while True:
            line = re.match(rb"\s*([0-9a-f]+)[^\n]*\n", data[at:], re.I)
            if not line:
                return None
            at += line.end()
            size = int(line[1], 16)
            if size == 0:
                end = re.match(rb"([^\r\n]+\r?\n)*\r?\n", data[at:])
                return at + end.end() if end else None
            if len(data) < at + size:
                return None
            at += size
    length = re.search(rb"\ncontent-length[ \t]*:[ \t]*(\d+)", head)
    at += int(length[1]) if length else 0
    return at if len(data) >= at else None


def answer(request):
    key = re.search(rb"\r\nsec-websocket-key: (\S+)", request, re.I)
    if key and re.search(rb"\r\nupgrade: *websocket", request, re.I):
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key[1] + guid).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )
    return b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


# -- what is a request in canonical shape

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HOP = {b"keep-alive", b"proxy-connection", b"te", b"proxy-authorization", b"http2-settings", b"expect", b"proxy"}
ONCE = {b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-real-ip"}


def shape(raw):
    """None for exactly one request that every reader reads alike, else what is odd about it."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if re.search(rb"[\r\n\0]", b"".join(lines)):
        return "control bytes or bare line ends"
    first = re.fullmatch(rb"(" + TOKEN + rb") (/[!-~]*) HTTP/1\.1", lines[0])
    if not first:
        return "request line " + show(lines[0])
    path = first[2].split(b"?")[0]
    if re.search(rb"[\\<>\"`{}|^#]|%00|%(?![0-9A-F]{2})|/\.\.?(/|$)", path):
        return "path " + show(path)
    fields = []
    for line in lines[1:]:
        field = re.fullmatch(rb"([A-Za-z0-9-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)", line)
        if not field:
            return "field " + show(line)
        fields.append((field[1].lower(), field[2].strip()))
    names = [name for name, _ in fields]
    for name in ONCE | {b"content-length", b"transfer-encoding", b"connection", b"upgrade"}:
        if names.count(name) > (1 if name != b"connection" else 1):
            return f"{name.decode()} {names.count(name)} times"
    if b"host" not in names:
        return "no Host"
    have = dict(fields)
    odd = HOP & set(names)
    if odd:
        return "hop-by-hop " + ", ".join(sorted(name.decode() for name in odd))
    if have.get(b"upgrade", b"websocket").lower() != b"websocket":
        return "upgrade to " + show(have[b"upgrade"])
    length, coding = have.get(b"content-length"), have.get(b"transfer-encoding")
    if length is not None and coding is not None:
        return "both framings"
    if coding is not None:
        return None if coding == b"chunked" and chunks(body) is not None else "chunks " + show(coding)
    if length is not None:
        return None if re.fullmatch(rb"\d+", length) and int(length) == len(body) else "length " + show(length)
    return None if not body else "a body without framing"


def chunks(body):
    """The data of a body of plain chunks without extensions."""
    data = b""
    while True:
        size = re.match(rb"([0-9A-Fa-f]+)\r\n", body)
        if not size:
            return None
        count, body = int(size[1], 16), body[size.end() :]
        if count == 0:
            trailers = re.fullmatch(rb"([A-Za-z0-9-]+: [^\r\n\0]*\r\n)*\r\n", body)
            return data if trailers else None
        data, body = data + body[:count], body[count + 2 :]


def told(raw):
    """Method, target and body, as the corpus writes them."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding:" in head.lower():
        body = chunks(body) or b"?"
    words = head.split(b"\r\n")[0].split(b" ")[:2] + ([body] if body else [])
    return b" ".join(words).decode("latin-1")


def show(data):
    return data[:60].decode("latin-1").encode("unicode_escape").decode()


# -- a client


class Seen:
    """What became of one case at one proxy."""

    def __init__(self, statuses, is_closed, whole, cut):
        self.statuses, self.is_closed, self.whole, self.cut = statuses, is_closed, whole, cut

    def line(self):
        status = " ".join(map(str, self.statuses)) or ("closed" if self.is_closed else "waits")
        if not self.whole:
            return status + (", begun" if self.cut else "")
        odd = [reason for reason in map(shape, self.whole) if reason]
        if self.has_evil():
            odd.append("the attacker's value")
        reached = "1 request" if len(self.whole) == 1 else f"{len(self.whole)} requests"
        return f"{status}, {reached}" + (f", **{'; '.join(odd)}**" if odd else "")

    def has_evil(self):
        return any(b"evil" in request.lower() for request in self.whole)

    def lets_through_odd(self):
        return any(map(shape, self.whole)) or self.has_evil()


async def send(case, port, backend, is_exact, in_pieces):
    backend.forget()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    statuses, data, is_closed = [], b"", False

    async def write():
        try:
            pieces = [case.request[at : at + 1] for at in range(len(case.request))] if in_pieces else [case.request]
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass

    writing = asyncio.ensure_future(write())
    while not is_closed:
        is_due = is_exact and len(statuses) < case.answers
        patience = LONG if is_due else (SETTLE if statuses and not data else PATIENCE)
        try:
            piece = await asyncio.wait_for(reader.read(65536), patience)
        except asyncio.TimeoutError:
            break
        except ConnectionError:
            piece = b""
        is_closed = not piece
        data += piece
        while True:
            whole = re.match(rb"HTTP/1\.[01] (\d{3})[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n", data)
            if not whole:
                break
            length = re.search(rb"(?i)\ncontent-length: *(\d+)", whole[0])
            chunked = re.search(rb"(?i)\ntransfer-encoding: *chunked", whole[0])
            size = whole.end() + (int(length[1]) if length else 0)
            if chunked:
                end = data.find(b"0\r\n\r\n", whole.end())
                size = end + 5 if end >= 0 else len(data) + 1
            if len(data) < size:
                break
            data = data[size:]
            if whole[1] != b"100":
                statuses.append(int(whole[1]))
    await asyncio.wait_for(writing, LONG)
    writer.close()
    await asyncio.sleep(SETTLE)
    return Seen(statuses, is_closed, *backend.saw())


# -- the proxies


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


NGINX = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/nginx.log crit;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  {servers}
}}
"""
NGINX_SERVER = """
  upstream app{lane} {{ server 127.0.0.1:{backend}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app{lane}; proxy_http_version 1.1;
      proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }}
  }}
"""
HAPROXY = """
global
  log stderr local0 emerg
defaults
  mode http
  timeout connect 3s
  timeout client 30s
  timeout server 30s
  option forwardfor
{servers}
"""
HAPROXY_SERVER = """
listen lane{lane}
  bind 127.0.0.1:{port}
  server app 127.0.0.1:{backend}
"""
CROSSFADE = """
[server]
listen = "127.0.0.1:{port}"
[admin]
listen = "127.0.0.1:0"
[log]
level = "debug"
[upstream.app]
servers = ["http://127.0.0.1:{backend}"]
[[route]]
path = "/{{*path}}"
upstream = "app"
"""


class Proxies:
    """Programs that end with this."""

    def __init__(self, folder):
        self.folder, self.programs, self.ports, self.versions = pathlib.Path(folder), [], {}, {}

    def run(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")
        self.programs.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))

    def start(self, crossfade, backends):
        self.ports["crossfade"] = [free_port() for _ in backends]
        for lane, (port, backend) in enumerate(zip(self.ports["crossfade"], backends)):
            file = self.folder / f"proxy{lane}.toml"
            file.write_text(CROSSFADE.format(port=port, backend=backend["crossfade"].port))
            self.run(f"crossfade{lane}", crossfade, "run", "--config", str(file))
        self.versions["crossfade"] = version(crossfade, "--version")
        for name, whole, part in (("nginx", NGINX, NGINX_SERVER), ("haproxy", HAPROXY, HAPROXY_SERVER)):
            program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
            if not program:
                print(f"not run: {name} is not installed")
                continue
            self.ports[name] = [free_port() for _ in backends]
            parts = [
                part.format(lane=lane, port=port, backend=backend[name].port)
                for lane, (port, backend) in enumerate(zip(self.ports[name], backends))
            ]
            file = self.folder / f"{name}.cfg"
            file.write_text(whole.format(dir=self.folder, servers="".join(parts)))
            flags = ["-p", str(self.folder), "-c", str(file)] if name == "nginx" else ["-f", str(file)]
            self.run(name, program, *flags)
            self.versions[name] = version(program, "-v")

    async def are_ready(self):
        for port in (port for ports in self.ports.values() for port in ports):
            for _ in range(300):
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except ConnectionError:
                    await asyncio.sleep(0.05)
            else:
                logs = "\n".join(log.read_text() for log in self.folder.glob("*.log"))
                raise SystemExit(f"a proxy does not listen:\n{logs}")

    def leaks(self):
        """What crossfade's log must not hold, whatever was sent: control bytes, and the corpus's credentials."""
        for log in sorted(self.folder.glob("crossfade*.log")):
            data = log.read_bytes()
            if not data:
                yield f"{log.name}: it is empty"
            for found in re.finditer(rb"[\x00-\x08\x0b-\x1f\x7f]|keep(=1|\b(?!-))", data):
                yield f"{log.name}: {show(data[max(0, found.start() - 40) : found.end()])}"

    def stop(self):
        for program in self.programs:
            program.kill()
            program.wait()


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "?"


# -- the judgement


def wrong(case, seen):
    """Why crossfade failed this case; None where it did not."""
    expected = [] if case.backend in ("-", "cut") else case.backend.split(" + ")
    reached = [told(request) for request in seen.whole]
    if reached != expected:
        return f"the backend got {reached}, not {expected}"
    for request in seen.whole:
        if shape(request):
            return "it reached the backend with " + shape(request)
    if seen.has_evil():
        return "the attacker's value reached the backend"
    if case.keeps and expected and not any(b"keep" in request for request in seen.whole):
        return "a value did not reach the backend"
    status = str(seen.statuses[0]) if seen.statuses else "-"
    if status != case.status:
        return f"answered {status}, not {case.status}"
    return None


async def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("crossfade")
    options.add_argument("--record", type=pathlib.Path)
    options.add_argument("--only")
    options = options.parse_args()
    cases = [case for case in corpus() if options.only in (None, case.name)]
    with tempfile.TemporaryDirectory() as folder:
        backends = [{name: Backend() for name in ("crossfade", "nginx", "haproxy")} for _ in range(LANES)]
        for lane in backends:
            for backend in lane.values():
                await backend.start()
        proxies = Proxies(folder)
        try:
            proxies.start(str(pathlib.Path(options.crossfade).resolve()), backends)
            await proxies.are_ready()
            seen, failures = {}, []

            async def walk(name, lane):
                port, backend = proxies.ports[name][lane], backends[lane][name]
                for case in cases[lane::LANES]:
                    is_exact = name == "crossfade"
                    seen[case.name, name] = await send(case, port, backend, is_exact, False)
                    if not is_exact:
                        continue
                    again = await send(case, port, backend, is_exact, len(case.request) < 2000)
                    for how, found in (("", seen[case.name, name]), (" (byte by byte)", again)):
                        if reason := wrong(case, found):
                            failures.append(f"{case.name}{how}: {reason}")

            await asyncio.gather(*(walk(name, lane) for name in proxies.ports for lane in range(LANES)))
        finally:
            proxies.stop()
        failures += proxies.leaks()
    report(cases, seen, proxies, failures, options.record)
    return 1 if failures else 0


def report(cases, seen, proxies, failures, record):
    names = list(proxies.ports)
    lines = ["| request | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case in cases:
        lines.append(f"| {case.name} | " + " | ".join(seen[case.name, name].line() for name in names) + " |")
    totals = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    kinds = (
        ("nothing whole reached the backend", lambda s: not s.whole),
        ("reached it in canonical shape", lambda s: s.whole and not s.lets_through_odd()),
        ("reached it in another shape, or with the attacker's value", lambda s: s.lets_through_odd()),
    )
    for kind, is_so in kinds:
        counts = [sum(1 for case in cases if is_so(seen[case.name, name])) for name in names]
        totals.append(f"| {kind} | " + " | ".join(map(str, counts)) + " |")
    versions = ", ".join(f"{name} {proxies.versions[name]}" for name in names)
    text = (
        f"# Odd requests, and what three proxies make of them\n\n{len(cases)} requests of `corpus.txt`, sent to {versions}, each "
        "before a backend that records bytes. Made by\n`bash tests/interop/differential.sh --record`. A cell: the statuses "
        "that the client got, then what reached the backend; in bold what is odd\nabout that: more than one reading, a "
        "field of one hop, a name that may pass for another, or a value that the client had no right to set.\n\n"
        + "\n".join(totals)
        + "\n\n"
        + "\n".join(lines)
        + "\n"
    )
    print(text)
    if record and not failures:
        record.write_text(text, "utf-8")
    for failure in failures:
        print("FAILED " + failure)
    print(f"{len(cases)} requests, {len(failures)} failures at crossfade")


sys.exit(asyncio.run(main()))
