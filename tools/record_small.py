# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Make test/data/recorded_small.safetensors again: ``python tools/record_small.py``.

The numbers are those of this implementation, so it must agree with the reference first: where the
reference's recordings are absent or test/test_parity.py fails, nothing is written.
"""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from safetensors.torch import save_file  # noqa: E402
from small_recording import FILE, record_all  # noqa: E402


def main() -> None:
    """Write the recording, if this network agrees with the reference."""
    if not (ROOT.parent / 'shared' / 'parity').is_dir():
        sys.exit("nothing written: the reference's recordings (../shared/parity) are absent")
    parity = [sys.executable, '-m', 'pytest', '-q', 'test/test_parity.py']
    if subprocess.run(parity, cwd=ROOT).returncode:
        sys.exit('nothing written: this network does not agree with the reference')
    path = ROOT / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(record_all(), path)
    print(f'{path}: {path.stat().st_size:,} bytes')


if __name__ == '__main__':
    main()
