# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The table of faults in the docs is the one that the tests are marked with."""

import subprocess
import sys


def test_the_table_of_faults_is_that_of_the_tests(repository_dir):
    command = [sys.executable, str(repository_dir / 'tools' / 'fault_table.py')]
    done = subprocess.run([*command, '--check'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_there_are_at_least_sixty_faults(repository_dir):
    page = (repository_dir / 'docs' / 'faults.md').read_text(encoding='utf-8')
    rows = [line for line in page.splitlines() if line.startswith('| ') and '`' in line]
    assert len(rows) >= 60
    assert len({row.split('|')[1] for row in rows}) == len(rows)
