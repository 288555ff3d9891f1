# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The list of licences names what is installed with the package."""

from mem3r_ros.cli.licences import dependencies, describe
from mem3r_ros.cli.main import main


def test_dependencies_are_listed_with_version_and_licence(capsys):
    assert main(['licences']) == 0

    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if 'numpy' in line]
    assert lines and 'BSD' in lines[0]
    assert 'CC BY-NC-SA' in printed


def test_what_dependencies_need_is_listed_and_what_is_not_installed_is_not():
    found = dependencies('mem3r_ros')

    assert {'torch', 'sympy'} <= set(found)
    assert all(describe(name)[0] for name in found)
