"""docs/compatibility.md: written from a run, and compared with one."""

import pathlib
import re

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "compatibility.md"
INTRO = """# What is passed, rewritten and refused

What crossfade does with {count} requests, answers and bodies, beside {peers}, as Debian has them
and with the same bytes. Written by `bash tests/interop/differential.sh --record`; without `--record` the run fails
where crossfade's column is no longer true. `docs/security.md` says why something is refused.

- **passed**: what matters for its reader is as it came.
- **rewritten**: passed, with what the cell says changed.
- **refused**: nothing complete reached the other side; the number is the status that the client got.
- **waits**, **closed**: no answer yet, or none at all; **broken off**: the client can tell that the end is missing.
- **In bold**: a text that two readers may read differently, a field of one hop, a name that may pass for another, a
  value that the sender had no right to set, or a client that is left without its answer.

nginx has `proxy_pass` with `proxy_http_version 1.1`, `Host`, `X-Forwarded-For` and the fields of WebSocket set; HAProxy
has `option forwardfor`. Their files, and crossfade's, are in `tests/interop/differential/conf`. A few of their cells
depend on timing (trailers, uploads): they say what this run saw.
"""


NUMBERS = "The requests down to *What is let through*, in numbers"


def write(rows, names, peers, totals):
    parts = [INTRO.format(count=len(rows), peers=" and ".join(peers)), f"## {NUMBERS}\n" + table(names, totals)]
    for group in dict.fromkeys(group for group, *_ in rows):
        parts.append(f"## {group}\n" + table(names, [(case, cells) for at, case, cells in rows if at == group]))
    return "\n".join(parts)


def table(names, rows):
    lines = ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {case} | " + " | ".join(str(cells.get(name, "not run")) for name in names) + " |" for case, cells in rows]
    return "\n".join(lines) + "\n"


def outdated(rows, is_all):
    """Where the page says something else of crossfade than the run."""
    said, group = {}, None
    for line in PAGE.read_text("utf-8").splitlines() if PAGE.exists() else []:
        if line.startswith("## "):
            group = line[3:]
        elif line.startswith("| ") and not line.startswith("| case |") and group != NUMBERS:
            case, cell = re.split(r"(?<!\\) \| ", line[2:])[:2]
            said[group, case] = cell
    for group, case, cells in rows:
        before = said.pop((group, case), None)
        if before != cells["crossfade"]:
            yield f"docs/compatibility.md says {before!r} of {case!r}, the run {cells['crossfade']!r}: record it"
    if is_all:
        yield from (f"docs/compatibility.md has {case!r}, and the run does not: record it" for _, case in said)
