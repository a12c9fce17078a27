"""Bytes as the corpora write them, heads and chunks as a careful reader takes them, and how a page shows them."""

import re


def decode(text):
    """The bytes of a line of a corpus."""
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


class Head:
    """First line and fields, however the lines end; `rest` is what comes behind."""

    def __init__(self, data):
        end = re.search(rb"\r?\n\r?\n", data)
        head, self.rest = (data[: end.start()], data[end.end() :]) if end else (data, b"")
        lines = re.split(rb"\r?\n", head)
        self.line = lines[0]
        pairs = [line.partition(b":") for line in lines[1:] if b":" in line]
        self.fields = [(name.strip().decode("latin-1"), value.strip().decode("latin-1")) for name, _, value in pairs]

    def all(self, name):
        return [value for have, value in self.fields if have.lower() == name]

    def names(self):
        return [name for name, _ in self.fields]


def chunks(body):
    """The data of a body of plain chunks without extensions; None where it is anything else."""
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


def show(data):
    """A few bytes in ASCII."""
    text = data.decode("latin-1") if isinstance(data, bytes) else data
    shown = "".join(c if " " <= c <= "~" else repr(c.encode("latin-1"))[2:-1] for c in text[:60])
    return shown + ("…" if len(text) > 60 else "")


def code(data):
    """The same as code of a page's table."""
    text = show(data).replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def listed(items):
    return ", ".join(map(code, items))
