# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The former name of ``mem3r fit-covariance``; the next release removes it."""

import os
import sys

if __name__ == '__main__':
    print('note: this command is now mem3r fit-covariance', file=sys.stderr)
    program = [sys.executable, '-m', 'mem3r_ros.cli.main', 'fit-covariance']
    os.execv(program[0], program + sys.argv[1:])
