# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The ROS node: messages, parameters, TF, services, diagnostics; and the replay of a bag.

Importing this package appends the folder of stand-ins to the module search path. An installed ROS
package is therefore always found first; only a missing one (pip has no cv_bridge, sensor_msgs_py,
tf2_ros or tf_transformations) is taken from that folder.
"""

from pathlib import Path
import sys

from mem3r_ros.threads import set_thread_variables

set_thread_variables()  # before the node imports numpy and torch

STANDINS = str(Path(__file__).with_name('standins'))
if STANDINS not in sys.path:
    sys.path.append(STANDINS)
