"""What is sent, read from the two corpora: requests.txt is judged by what reaches the backend, cells.txt by what the page says."""

import pathlib
import re

from wire import decode

HERE = pathlib.Path(__file__).parent
KEY = "cfk_diff_" + "0123456789abcdef" * 2


class Case:
    """One line: a request, what crossfade answers, and what its backend gets."""

    def __init__(self, group, fields):
        self.group = group
        self.name, self.status, self.backend, text = fields
        self.request = decode(text)
        self.due = len(self.status.split(",")) if self.status != "-" else 0
        self.keeps = b"keep" in self.request.replace(b"keep-alive", b"")
        self.reaches = [] if self.backend in ("-", "cut") else decode(self.backend).decode("latin-1").split(" + ")


class Cell:
    """One line: what the page says of crossfade, and the bytes. The group's heading says who sends them and what is looked at."""

    def __init__(self, group, fields):
        self.group, self.view = group, group.view
        self.name, self.expected, text = fields
        self.bytes = decode(text.replace("{key}", KEY))


class Group:
    def __init__(self, heading):
        self.title, _, self.view = heading.partition(" | ")
        self.title, self.view = self.title.strip(), self.view.strip()


def read(name, kind):
    lines, group = (HERE / name).read_text("utf-8").splitlines(), None
    columns = 3 if kind is Case else 2
    for line in lines:
        if line.startswith("## "):
            group = Group(line[3:])
        elif line.strip() and not line.startswith("#"):
            yield kind(group, re.split(r" {2,}", line, maxsplit=columns))
