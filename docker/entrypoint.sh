#!/bin/bash
# Source the distribution, the Python environment and the workspace, then run the command.
set -e
. "/opt/ros/${ROS_DISTRO}/setup.bash"
. /ws/.venv/bin/activate
. /ws/install/local_setup.bash
exec "$@"
