#!/bin/sh
# Resolve requirements/*.in again for Python 3.10 to 3.13 and write the lock files.
# Needs uv on PATH. Run it from the repository root and commit what changes.
set -eu
cd "$(dirname "$0")/.."
compile() {
    # Accelerator libraries stay out: torch's own wheel names those that it needs, where it needs any.
    output=$1
    shift
    uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate "$@" |
        grep -v -E '^(nvidia-|cuda-|triton)' >"$output.new"
    { printf '# Written by tools/refresh_locks.sh; do not edit.\n'; cat "$output.new"; } >"$output"
    rm "$output.new"
}
all=$(mktemp)
trap 'rm -f "$all"' EXIT
compile "$all" requirements/runtime.in requirements/dev.in requirements/ros.in requirements/ros-build.in
compile requirements/lock.txt -c "$all" requirements/runtime.in requirements/dev.in
compile requirements/lock-ros.txt -c "$all" requirements/ros.in
compile requirements/lock-ros-build.txt -c "$all" requirements/ros-build.in
