"""Judges what testssl.sh found: testssl_judge.py FINDINGS [RESULT.md]."""

import json
import sys

# Whoever offers one of these has failed, whatever the tool thinks of it.
NOT_OFFERED = [
    "SSLv2", "SSLv3", "TLS1", "TLS1_1",
    "cipherlist_NULL", "cipherlist_aNULL", "cipherlist_EXPORT", "cipherlist_LOW", "cipherlist_3DES_IDEA", "cipherlist_AVERAGE",
]
# The tool has not run to its end where one of these is missing.
EXPECTED = [
    *NOT_OFFERED, "TLS1_2", "TLS1_3", "ALPN_HTTP2", "cipherlist_STRONG", "FS",
    "heartbleed", "CCS", "ticketbleed", "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "BREACH", "POODLE_SSL",
    "fallback_SCSV", "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4",
]
HARMLESS = ("OK", "INFO")


def main(findings, result):
    with open(findings, encoding="utf-8") as file:
        found = {finding["id"]: finding for finding in json.load(file)}
    # As releases before 3.2 call it.
    if "PFS" in found:
        found["FS"] = found.pop("PFS")
    wrong = [f"{name}: not looked at" for name in EXPECTED if name not in found]
    wrong += [
        f"{name}: {found[name]['finding']}"
        for name in NOT_OFFERED
        if name in found and not found[name]["finding"].startswith("not offered")
    ]
    wrong += [
        f"{finding['id']}: {finding['severity']}: {finding['finding']}"
        for finding in found.values()
        if finding["severity"] not in HARMLESS
    ]
    print(f"testssl: {len(found)} findings, {len(wrong)} of them wrong")
    for line in wrong:
        print(f"  {line}")
    if result:
        with open(result, "w", encoding="utf-8") as file:
            file.write("# What testssl.sh finds\n\nA stored run of `tests/interop/testssl.sh --record`.\n\n")
            file.write("| finding | severity | |\n|---|---|---|\n")
            for name in EXPECTED:
                if name in found:
                    file.write(f"| {name} | {found[name]['severity']} | {found[name]['finding'].strip()} |\n")
            file.write(f"\n{len(found)} findings, {len(wrong)} wrong.\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
