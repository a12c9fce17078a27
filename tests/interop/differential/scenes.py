"""What takes time, or a client or a backend of its own: uploads, quiet bodies, backends over TLS and on a socket."""

import asyncio

from backend import OK
from client import LONG, connected, fetch, upload
from proxies import BRIEF_S
from tls import ANSWERS
from views import answer_cell

LARGE = 16 << 20  # more than all buffers on its way hold
QUIET_S = 11  # longer than the ten seconds over which a body's rate is looked at

EARLY = "Answers that are out before the upload is: the client writes 16 MiB before it reads"
QUIET = "Bodies that pause"
SERVERS = "Backends over TLS and on a socket"


def early(status, head):
    """Three times: where the answer meets the upload is chance."""

    async def scene(proxy):
        got = {await asyncio.to_thread(upload, proxy.special, request(head, LARGE), LARGE) for _ in range(3)}
        lost = sorted(f"{other} arrives" if isinstance(other, int) else other for other in got - {status})
        words = [f"{status} arrives"] * (status in got) + [f"**{other}**" for other in lost]
        return ", or ".join(words)

    return scene


def paced(port, pieces, pauses):
    """An upload in pieces, which the backend answers when it has all."""

    async def scene(proxy):
        head = request("POST /sink HTTP/1.1\r\nHost: long.example", sum(map(len, pieces)))
        data, _ = await fetch(getattr(proxy, port), [head + pieces[0], *pieces[1:]], pauses)
        status = data.split(b" ")[1].decode() if data else None
        return {"200": "passed", None: "closed without an answer"}.get(status, f"refused, {status}")

    return scene


async def both_ways(proxy):
    reader, writer = await connected(proxy.special)
    writer.write(b"POST /echo HTTP/1.1\r\nHost: long.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    held = ""
    try:
        await asyncio.wait_for(reader.readuntil(b"1\r\na\r\n"), 8)
    except asyncio.TimeoutError:
        held = "rewritten: held back until the body is whole"
    await asyncio.sleep(QUIET_S)
    writer.write(b"1\r\nb\r\n0\r\n\r\n")
    try:
        await asyncio.wait_for(reader.readuntil(b"b\r\n"), LONG)
        return held or "passed"
    except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError):
        return "broken off"
    finally:
        writer.close()


def asked(host, path, answer):
    async def scene(proxy):
        lines = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        data, _ = await fetch(proxy.special, lines.encode())
        return answer_cell(answer, data)

    return scene


def over_tls(path, host="tls.example"):
    return asked(host, path, ANSWERS[path])


def request(head, size):
    return f"{head}\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()


SCENES = [
    (EARLY, "a backend answers 413 and closes unread", "413 arrives", early(413, "POST /early HTTP/1.1\r\nHost: long.example")),
    (EARLY, "there is no key for a guarded path", "401 arrives", early(401, "POST /guarded HTTP/1.1\r\nHost: long.example")),
    (EARLY, "a field has a blank in its name", "400 arrives", early(400, "POST /sink HTTP/1.1\r\nHost: long.example\r\nX Y: z")),
    (QUIET, f"{QUIET_S} s of silence, where 30 s or more are allowed", "passed", paced("special", [b"a", b"b"], [QUIET_S])),
    (QUIET, f"{2 * BRIEF_S} s of silence, where {BRIEF_S} s are allowed", "refused, 408", paced("brief", [b"a", b"b"], [2 * BRIEF_S])),
    (QUIET, "2 bytes a second for 14 s (`body_min_rate`)", "refused, 408", paced("special", [b"a"] * 28, [0.5] * 27)),
    (QUIET, f"{QUIET_S} s of silence of both sides, once the answer has begun", "passed", both_ways),
    (SERVERS, "the certificate of `openssl req -x509`, given as authority, for its name", "passed", over_tls("/length")),
    (SERVERS, "the same for another name", "refused, 502", over_tls("/length", "other.example")),
    (SERVERS, "an answer to the connection's end, without close_notify", "rewritten: framed by chunks", over_tls("/end")),
    (SERVERS, "an answer shorter than its length, without close_notify", "passed, broken off", over_tls("/length-cut")),
    (SERVERS, "chunks without the last one, without close_notify", "passed, broken off", over_tls("/chunks-cut")),
    (SERVERS, "a backend on a unix socket", "passed", asked("socket.example", "/", OK)),
]
