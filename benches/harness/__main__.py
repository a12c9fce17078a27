"""benches/run [--quick] [--without SERVER,…] [--binary FILE] [WORK…]

Installs the peers, builds crossfade and the load generator, measures, and prints ratios. README.md says what each work is.
A full run of all works writes RESULTS.md; --quick and a choice of works only print.
"""
import argparse
import sys
from pathlib import Path

from . import build, limits, passing, report, works
from .servers import KINDS, Stage

WORKS = {**works.ALL, **passing.ALL}


def main() -> int:
    chosen = parse_arguments()
    limits.require_two_cores()
    descriptors = limits.raise_descriptors()
    missing = build.install_peers((set(KINDS) | build.TOOLS) - chosen.without)
    missing.update({name: "left out by --without" for name in chosen.without})
    binaries = build.binaries(chosen.binary)
    missing["Centrifugo"] = "neither Debian nor the npm registry has it"
    busy = limits.busy_share()
    findings = []
    with Stage(binaries, set(KINDS) - set(missing)) as stage:
        for name in chosen.works or WORKS:
            print(f"\n{name} …", file=sys.stderr, flush=True)
            findings.append(WORKS[name](stage, chosen.quick, descriptors))
            print(report.work_text(findings[-1]), flush=True)
    text = report.whole(findings, missing, busy, binaries)
    print("\n" + report.summary(findings))
    for name, why in missing.items():
        print(f"not run: {name}: {why}")
    if not (chosen.quick or chosen.works or chosen.without):
        build.HERE.joinpath("RESULTS.md").write_text(text)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run", description="Measures crossfade beside its peers.")
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"one or more of {' '.join(WORKS)}; default all")
    parser.add_argument("--quick", action="store_true", help="the main size of each work, once, in under five minutes")
    parser.add_argument("--without", default="", metavar="SERVER,…", help=f"leave out some of {' '.join(KINDS)}")
    parser.add_argument("--binary", type=Path, help="a crossfade that is built already")
    chosen = parser.parse_args()
    chosen.without = {name for name in chosen.without.split(",") if name}
    for unknown in [*(set(chosen.works) - set(WORKS)), *(chosen.without - set(KINDS))]:
        parser.error(f"there is no {unknown}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
