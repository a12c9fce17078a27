"""Judges an Autobahn report: autobahn_judge.py SUBJECT REPORT [RESULT.md]. Exits 1 where a case failed or was not run."""

import json
import pathlib
import sys
from collections import Counter

# Suite 0.8.2 without its groups 12 and 13. Fewer means that the run broke off.
CASES = 301
# What the suite itself does not count as a failure.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "close handling",
    "9": "limits and performance",
    "10": "automatic fragmentation",
}


def main(subject, report, result=None):
    (cases,) = json.loads(pathlib.Path(report, "index.json").read_text()).values()
    failed = {}
    groups = {}
    for case, verdict in cases.items():
        bad = {verdict["behavior"], verdict["behaviorClose"]} - GOOD
        if bad:
            failed[case] = ", ".join(sorted(bad))
        groups.setdefault(case.split(".")[0], Counter())["FAILED" if bad else verdict["behavior"]] += 1

    total = sum(groups.values(), Counter())
    line = f"{len(cases)} cases: " + ", ".join(f"{total[name]} {name}" for name in ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED"))
    print(f"autobahn: {line}; 12.* and 13.* (permessage-deflate, not negotiated) do not apply")
    for case in sorted(failed, key=lambda case: [int(part) for part in case.split(".")]):
        print(f"autobahn: case {case} {failed[case]}")
    if len(cases) != CASES:
        print(f"autobahn: {CASES} cases were expected")
    if result:
        pathlib.Path(result).write_text(table(subject, line, groups))
    return 1 if failed or len(cases) != CASES else 0


def table(subject, line, groups):
    rows = [
        f"| {group} | {GROUPS[group]} | {count['OK']} | {count['NON-STRICT']} | {count['INFORMATIONAL']} | {count['FAILED']} |"
        for group, count in sorted(groups.items(), key=lambda item: int(item[0]))
    ]
    return "\n".join(
        [
            f"# Autobahn test suite 0.8.2, fuzzing client, against {subject}",
            "",
            f"{line}. Made by `bash tests/interop/autobahn.sh --record`{' with `--tunnel`' if 'tunnel' in subject else ''}.",
            "",
            "| group | what | OK | non-strict | informational | failed |",
            "|---|---|---|---|---|---|",
            *rows,
            "| 12, 13 | permessage-deflate | – | – | – | does not apply: not negotiated |",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
