#!/usr/bin/env python3
"""What a reader of the pages may count on: lines that fit, sentences that name their actor, links that lead somewhere. prose.py [PAGE]...

Text wraps at 120 columns, tables and headings aside; code at 90. Words that hide the actor are listed below.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HIDING = re.compile(r"\b(who|whom|whoever|nobody|somebody|mends?)\b", re.I)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")


def slug(heading):
    """As GitHub and most renderers name a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(page):
    return {slug(text) for text in re.findall(r"^#+ (.*)$", page.read_text(), re.M)}


def faults(page):
    in_code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if re.match(r"\s*```", line):
            in_code = not in_code
        elif in_code:
            if len(line) > 90:
                yield number, f"code of {len(line)} columns"
        else:
            if len(line) > 120 and not line.startswith(("|", "#", "![", "<!--")):
                yield number, f"text of {len(line)} columns"
            for word in HIDING.findall(re.sub(r"`[^`]*`", "", line)):
                yield number, f"'{word}' names no actor (client, session, backend, operator, user)"
            for target, heading in LINK.findall(line):
                file = page.parent / target if target else page
                if "://" in target:
                    continue
                if not file.exists():
                    yield number, f"{target} is not there"
                elif heading and file.suffix == ".md" and heading not in headings(file):
                    yield number, f"{file.name} has no heading for #{heading}"


def main():
    pages = [pathlib.Path(page).resolve() for page in sys.argv[1:]]
    found = 0
    for page in pages or [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/*/README.md"))]:
        for number, fault in faults(page):
            print(f"{page.relative_to(ROOT)}:{number}: {fault}")
            found += 1
    sys.exit(1 if found else 0)


main()
