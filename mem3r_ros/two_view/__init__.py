# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Two-view geometry: optical flow, epipolar geometry, two-frame bundle adjustment; no network."""
