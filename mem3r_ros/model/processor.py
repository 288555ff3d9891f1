# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Name of the processor, and the number formats that it multiplies in hardware."""

from __future__ import annotations

from functools import cache
from pathlib import Path
import platform

_CPUINFO = Path('/proc/cpuinfo')
_INT8 = frozenset({'avx512_vnni', 'avx_vnni', 'amx_int8'})
_BFLOAT16 = frozenset({'avx512_bf16', 'amx_bf16', 'bf16'})
_FLOAT16 = frozenset({'avx512_fp16', 'amx_fp16', 'asimdhp'})


@cache
def _cpuinfo() -> dict[str, str]:
    """Return the description of the first core; empty where the system gives none."""
    try:
        first = _CPUINFO.read_text(encoding='utf-8', errors='replace').split('\n\n')[0]
    except OSError:
        return {}
    pairs = (line.partition(':') for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _features() -> frozenset[str]:
    info = _cpuinfo()
    return frozenset((info.get('flags') or info.get('Features') or '').split())


def processor_name() -> str:
    """Return the name of the processor."""
    return _cpuinfo().get('model name') or platform.processor() or platform.machine()


def multiplies_int8() -> bool:
    """Return whether the processor has dot products of 8-bit integers (VNNI or AMX)."""
    return bool(_features() & _INT8)


def multiplies_bfloat16() -> bool:
    """Return whether the processor has dot products of bfloat16 (AVX512_BF16, AMX or Arm BF16)."""
    return bool(_features() & _BFLOAT16)


def multiplies_float16() -> bool:
    """Return whether the processor computes in float16 (AVX512_FP16, AMX or Arm half)."""
    return bool(_features() & _FLOAT16)


def number_formats() -> tuple[str, ...]:
    """Return the formats below float32 that the processor multiplies in hardware."""
    known = {
        'int8': multiplies_int8(),
        'bfloat16': multiplies_bfloat16(),
        'float16': multiplies_float16(),
    }
    return tuple(name for name, is_there in known.items() if is_there)
