#!/bin/sh
# Print the Python that `make env` shall use: $PYTHON, else the one of the existing .venv, else the
# first complete one of 3.10 to 3.13. Says in one sentence what to install when there is none.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE

in_range='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
complete="$in_range"'
import ensurepip, os, sysconfig, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'
path_of='import sys; print(sys._base_executable)'

works() {
    "$1" -c "$2" >/dev/null 2>&1
}
say() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

if [ -n "${PYTHON:-}" ]; then
    works "$PYTHON" 'pass' || say "PYTHON=$PYTHON does not run; name a Python 3.10 to 3.13 interpreter."
    works "$PYTHON" "$in_range" || say "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1); name a Python 3.10 to 3.13."
    "$PYTHON" -c "$path_of"
    exit
fi

names='python3 python3.12 python3.11 python3.13 python3.10'
if [ -n "${ROS_DISTRO:-}" ]; then
    for name in $names; do
        if works "$name" 'import rclpy'; then
            "$name" -c "$path_of"
            exit
        fi
    done
    say "ROS_DISTRO is $ROS_DISTRO but no Python here imports rclpy; install ros-$ROS_DISTRO-rclpy or name its Python with PYTHON=."
fi
if works "$root/.venv/bin/python" "$in_range"; then
    "$root/.venv/bin/python" -c "$path_of"
    exit
fi
for check in "$complete" "$in_range"; do
    for name in $names; do
        if works "$name" "$check"; then
            "$name" -c "$path_of"
            exit
        fi
    done
done
say 'no Python 3.10 to 3.13 found; install one (Debian, Ubuntu: apt install python3 python3-venv python3-dev) or name it with PYTHON=.'
