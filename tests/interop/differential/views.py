"""What the page says of one case at one proxy."""

import re

from client import exchange, fetch
from h2 import ask
from shape import rewritten, shape
from wire import Head, chunks, code, listed

# Fields of an answer that belong to a connection, or that every server adds.
OF_CONNECTION = {"connection", "keep-alive", "content-length", "transfer-encoding"}
WAY = ("client", "proto", "host", "port")


def request_cell(sent, statuses, is_closed, whole, evil="the attacker's value"):
    """What became of a request: refused, passed, or rewritten, and in bold what is odd about what the backend got."""
    if not whole:
        return f"refused, {statuses[0]}" if statuses else ("closed" if is_closed else "waits")
    words = rewritten(sent, whole[0]) if len(whole) == 1 else []
    cell = f"rewritten: {'; '.join(words)}" if words else "passed"
    odd = dict.fromkeys(reason for reason in map(shape, whole) if reason)
    if has_evil(whole):
        odd[evil] = None
    if odd:
        cell += f", **{'; '.join(odd)}**"
    return cell if set(statuses) <= {200} else f"{cell}, answered {', '.join(map(str, statuses))}"


def has_evil(whole):
    return any(b"evil" in request.lower() for request in whole)


async def guarded(proxy, cell):
    proxy.backends.special.expect()
    statuses, is_closed = await exchange(cell.bytes, proxy.special, 1)
    return request_cell(cell.bytes, statuses, is_closed, proxy.backends.special.whole, "may be read as a guarded path")


async def names(proxy, cell):
    proxy.backends.special.expect()
    await exchange(cell.bytes, proxy.special, 1)
    return spelled_cell(Head(cell.bytes).names(), proxy.backends.special.whole)


async def h2(proxy, cell):
    """A plain word where nothing reached the backend, else how target and names came."""
    proxy.backends.special.expect()
    status = await ask(proxy.h2, cell.bytes)
    whole = proxy.backends.special.whole
    if not whole:
        return f"refused, {status}"
    sent, got = Head(cell.bytes), Head(whole[0])
    if sent.line.split(b" ")[1] != (target := got.line.split(b" ")[1]):
        return f"rewritten: as {code(target)}"
    own = [name for name in sent.names() if name != "Host"]
    return spelled_cell(own, whole) if own else "passed"


def spelled_cell(sent, whole):
    if not whole:
        return "refused"
    names = Head(whole[0]).names()

    def lines(of, name):
        return [spelled for spelled in of if spelled.lower() == name]

    changed = [name for name in dict.fromkeys(map(str.lower, sent)) if lines(sent, name) != lines(names, name)]
    words = [listed(lines(names, name)) or f"without {code(name)}" for name in changed]
    return f"rewritten: {', '.join(words)}" if words else "passed"


async def way(proxy, cell):
    """Whom X-Forwarded-* and Forwarded name, and in bold where they contradict each other."""
    proxy.backends.special.expect()
    await exchange(cell.bytes, proxy.special, 1)
    whole = proxy.backends.special.whole
    if not whole:
        return "refused"
    head = Head(whole[0])
    x, forwarded = {}, ", ".join(head.all("forwarded"))
    for key, name in zip(WAY, ("for", "proto", "host", "port")):
        if values := head.all(f"x-forwarded-{name}"):
            x[key] = values[0].split(",")[0].strip()
    words = [f"{key} {code(x[key])}" for key in WAY if key in x] or ["nothing"]
    if not forwarded:
        return ", ".join(words) + "; no `Forwarded`"
    pairs = dict(re.findall(r'(\w+)="?([^";,]+)', forwarded.split(",")[0].lower()))
    says = {"client" if key == "for" else key: value for key, value in pairs.items()}
    # A host in Forwarded bears the port.
    same = x | ({"host": f"{x['host']}:{x['port']}"} if "host" in x and "port" in x else {})
    odd = [f"{key} {code(value)}" for key, value in says.items() if same.get(key, "").lower() != value]
    return ", ".join(words) + (f"; **`Forwarded`: {', '.join(odd)}**" if odd else "; `Forwarded` the same")


async def answer(proxy, cell, host="a.example"):
    script = cell.bytes.replace(b"{backend}", b"127.0.0.1:%d" % proxy.backends.special.port)
    proxy.backends.special.expect(script)
    data, _ = await fetch(proxy.special, b"GET /a HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host.encode())
    return answer_cell(script, data)


async def fixed(proxy, cell):
    return await answer(proxy, cell, "fixed.example")


async def spelled(proxy, cell):
    proxy.backends.special.expect(cell.bytes)
    data, _ = await fetch(proxy.special, b"GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    return spelled_cell(Head(cell.bytes).names(), [data])


def answer_cell(script, data):
    """What became of a backend's answer, whose body is `abcdef` where it is meant to be whole."""
    hints, came = interim(script.lstrip())
    dropped, went = interim(data)
    status = went.line.split(b" ")[1:2]
    if not status:
        return "**passed without a status line**" if data else "closed without an answer"
    if status != came.line.split()[1:2]:
        return f"refused, {status[0].decode()}" if status[0][:1] == b"5" else f"answered {status[0].decode()}"
    words = []
    if dropped != hints:
        words.append("without the 1xx")
    if came.line.split(b" ", 2)[2:] != went.line.rstrip().split(b" ", 2)[2:]:
        words.append("status line " + code(went.line))
    gone = [n for n in dict.fromkeys(came.names()) if n.lower() not in OF_CONNECTION and not went.all(n.lower())]
    if gone:
        words.append(f"without {listed(gone)}")
    lost = {n for n in came.names() if 0 < len(went.all(n.lower())) < len(came.all(n.lower())) and n.lower() not in OF_CONNECTION}
    if lost:
        words.append(f"fewer {listed(sorted(lost))}")
    for name, value in came.fields:
        now = went.all(name.lower())
        if len(now) == 1 and value != now[0] and name.lower() not in OF_CONNECTION:
            words.append("with " + code(f"{name}: {now[0]}"))
    if framing(came) != framing(went):
        words.append(f"framed by {framing(went)}")
    cell = f"rewritten: {'; '.join(words)}" if words else "passed"
    if hints and data.endswith(Head(script).rest):
        return "**the first 1xx passes for the answer, all else for its body**"
    if any(re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value) for _, value in went.fields):
        cell += ", **control bytes**"
    body = read_body(went)
    if body is None:
        return cell + ", broken off"
    return cell if body in (b"abcdef", b"") else cell + f", **body {code(body)}**"


def interim(data):
    """How many interim answers there are, and the answer behind them."""
    count, head = 0, Head(data)
    while re.match(rb"HTTP/1\.1 1\d\d", head.line) and head.line.split()[1] != b"101":
        count, head = count + 1, Head(head.rest)
    return count, head


def framing(head):
    lengths, codings = head.all("content-length"), head.all("transfer-encoding")
    said = [f"length {value or 'without a value'}" for value in lengths] + [value or "an empty coding" for value in codings]
    said = ["chunks" if value == "chunked" else value for value in said]
    return ", ".join(said) or "the connection's end"


def read_body(head):
    """As a client that knows one rule reads it; None where it can tell that the end is missing."""
    lengths = head.all("content-length")
    if head.line.startswith(b"HTTP/1.1") and "chunked" in head.all("transfer-encoding"):
        return chunks(head.rest)
    if lengths and lengths[-1].isdigit():
        return head.rest[: int(lengths[-1])] if len(head.rest) >= int(lengths[-1]) else None
    return head.rest


VIEWS = {view.__name__: view for view in (guarded, names, h2, way, answer, fixed, spelled)}
