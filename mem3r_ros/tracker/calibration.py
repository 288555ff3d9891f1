# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Old name of ``mem3r fit-covariance``; it goes with the next release."""

import os
import sys

if __name__ == '__main__':
    print('note: this command is now called: mem3r fit-covariance', file=sys.stderr)
    program = [sys.executable, '-m', 'mem3r_ros.evaluation.covariance_fit']
    os.execv(program[0], program + sys.argv[1:])
