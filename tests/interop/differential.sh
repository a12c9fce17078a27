#!/usr/bin/env bash
# Sends the corpus of odd requests to crossfade, nginx and haproxy and prints what each of them did; judges crossfade.
#   differential.sh            builds and runs; a peer that is not installed is named and left out
#   differential.sh --record   the same, and writes the table to differential-result.md
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo build --locked --quiet
record=()
if [ "${1:-}" = --record ]; then record=(--record tests/interop/differential-result.md); fi
python3 tests/interop/differential/run.py target/debug/crossfade "${record[@]}"
