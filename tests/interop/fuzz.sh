#!/usr/bin/env bash
# Runs each fuzz target for a while: fuzz.sh SECONDS [TARGET...]. `fuzz.sh --can-run` says by its exit code whether that is possible.
# The targets have cargo-fuzz's layout, but neither cargo-fuzz nor a nightly compiler is needed: the coverage counters
# that libFuzzer reads are an LLVM pass that the stable compiler takes too. No sanitizer: the crate has no unsafe code.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --can-run ]; then
    command -v "${CXX:-c++}" >/dev/null
    exit
fi
seconds=$1
shift
if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(cd fuzz/fuzz_targets && ls ./*.rs | sed 's|^\./||; s|\.rs$||'); fi

# An explicit --target keeps the flags away from build scripts and procedural macros.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --locked --quiet --release --config profile.release.lto=false --package crossfade-fuzz --target "$host" --target-dir target/fuzz

for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    folders=("fuzz/corpus/$target")
    [ -d "fuzz/seeds/$target" ] && folders+=("fuzz/seeds/$target")
    log=target/fuzz/$target.log
    # The bounds that a parser is held to: 256 MiB, and an end. libFuzzer counts by the wall clock: a busy machine that lets
    # it wait for a second or two is no slow parser.
    if "target/fuzz/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=256 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" "${folders[@]}" >"$log" 2>&1; then
        echo "fuzz: $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s, nothing found"
    else
        tail -n 30 "$log"
        echo "fuzz: $target: FAILED; the input is in fuzz/artifacts/$target/"
        bad=1
    fi
done
exit "${bad:-0}"
