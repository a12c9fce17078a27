"""What is one request in canonical shape, and what became of a client's request on its way."""

import re

from wire import Head, chunks, code, listed

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
HOP = {b"keep-alive", b"proxy-connection", b"te", b"proxy-authorization", b"http2-settings", b"expect", b"proxy"}
ONCE = {b"host", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-real-ip"}
FRAMING = {b"content-length", b"transfer-encoding", b"connection", b"upgrade"}
# Each connection has its own; that they do not travel is no change.
OF_CONNECTION = {"connection", "transfer-encoding", "content-length", "expect", "trailer"}


def shape(raw):
    """None for exactly one request that every reader reads alike, else what is odd about it."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if re.search(rb"[\r\n\0]", b"".join(lines)):
        return "control bytes or bare line ends"
    first = re.fullmatch(rb"(" + TOKEN + rb") (/[!-~]*) HTTP/1\.1", lines[0])
    if not first:
        return "request line " + code(lines[0])
    path = first[2].split(b"?")[0]
    if re.search(rb"[\\<>\"`{}|^#]|%00|%(?![0-9A-F]{2})|/\.\.?(/|$)", path):
        return "path " + code(path)
    fields = []
    for line in lines[1:]:
        field = re.fullmatch(rb"([A-Za-z0-9-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)", line)
        if not field:
            return "field " + code(line)
        fields.append((field[1].lower(), field[2].strip()))
    names = [name for name, _ in fields]
    for name in sorted(ONCE | FRAMING):
        if names.count(name) > 1:
            return f"{code(name)} {names.count(name)} times"
    if b"host" not in names:
        return "no `Host`"
    odd = HOP & set(names)
    if odd:
        return "of one hop: " + listed(sorted(odd))
    have = dict(fields)
    if have.get(b"upgrade", b"websocket").lower() != b"websocket":
        return "upgrade to " + code(have[b"upgrade"])
    length, coding = have.get(b"content-length"), have.get(b"transfer-encoding")
    if length is not None and coding is not None:
        return "both framings"
    if coding is not None:
        return None if coding == b"chunked" and chunks(body) is not None else "chunks by " + code(coding)
    if length is not None:
        return None if re.fullmatch(rb"\d+", length) and int(length) == len(body) else "length " + code(length)
    return None if not body else "a body without framing"


def told(raw):
    """Method, target and body, as the corpus writes them."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding:" in head.lower():
        body = chunks(body) or b"?"
    words = head.split(b"\r\n")[0].split(b" ")[:2] + ([body] if body else [])
    return b" ".join(words).decode("latin-1")


def rewritten(sent, raw):
    """What a proxy changed between the request that a client sent and the one that its backend got, in words."""
    came, went = Head(sent), Head(raw)
    words, (target, arrived) = [], ((head.line.split(b" ") + [b""])[1] for head in (came, went))
    if target != arrived:
        words.append(f"as {code(arrived)}")
    gone = [name for name in came.names() if name.lower() not in OF_CONNECTION and not went.all(name.lower())]
    if gone:
        words.append(f"without {listed(dict.fromkeys(gone))}")
    for name, value in came.fields:
        now = went.all(name.lower())
        if len(came.all(name.lower())) == len(now) == 1 and name.lower() not in OF_CONNECTION and value not in now[0]:
            words.append("with " + code(f"{name}: {now[0]}"))
    if not came.all("host") and b"://" not in target and went.all("host"):
        words.append("with the server's address as `Host`")
    return words


