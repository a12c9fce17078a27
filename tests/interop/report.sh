# Sourced by the other scripts: one line per thing that passed, failed or did not run, said again together at the end.

report_lines=()
report_failed=0
report_logs=$(mktemp -d)
trap 'rm -rf "$report_logs"' EXIT

passed() { report_lines+=("passed   $*"); }
failed() { report_lines+=("FAILED   $*"); report_failed=1; }
not_run() { report_lines+=("not run  $*"); }

# Runs a command as a named part: passes or fails by its exit code.
part() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    if "$@" 2>&1 | tee "$report_logs/part"; then
        passed "$name"
    else
        failed "$name"
        { printf '\n-- the last lines of: %s\n' "$name" && tail -n 15 "$report_logs/part"; } >>"$report_logs/failed"
    fi
}

# Prints everything reported, with the last lines of what failed, and exits 1 where anything failed.
report() {
    [ ! -e "$report_logs/failed" ] || cat "$report_logs/failed"
    printf '\n== what ran and what did not\n'
    printf '  %s\n' "${report_lines[@]}"
    local passed failed
    passed=$(printf '%s\n' "${report_lines[@]}" | grep -c '^passed ' || true)
    failed=$(printf '%s\n' "${report_lines[@]}" | grep -c '^FAILED ' || true)
    printf 'parts: %s passed, %s failed\n' "$passed" "$failed"
    exit "$report_failed"
}
