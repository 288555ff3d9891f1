# SPDX-FileCopyrightText: 2026 mem3r_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Evaluation protocols of the papers: which frames of a data set, and how they are scored.

The choices are those of the public evaluations of MonST3R (arXiv 2410.03825), CUT3R (arXiv
2501.12387) and TTT3R (arXiv 2509.26645), which Mem3R (arXiv 2604.07279) follows.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from mem3r_ros.data import kind_of
from mem3r_ros.data.bonn import DEPTH_SCALE
from mem3r_ros.errors import UserError
from mem3r_ros.names import nearest_name

PUBLISHED = Path(__file__).with_name('published_results.json')
POSE, DEPTH, RECONSTRUCTION = 'pose', 'depth', 'reconstruction'
_LONG = (50, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
_DEPTH_LENGTHS = (50, 100, 110, 150, 200, 250, 300, 350, 400, 450, 500)
_SINTEL = (
    'alley_2 ambush_4 ambush_5 ambush_6 cave_2 cave_4 market_2 market_5 market_6 shaman_3 '
    'sleeping_1 sleeping_2 temple_2 temple_3'
)
_EUROC = (
    'MH_01_easy MH_02_easy MH_03_medium MH_04_difficult MH_05_difficult V1_01_easy V1_02_medium '
    'V1_03_difficult V2_01_easy V2_02_medium V2_03_difficult'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """One evaluation of one data set."""

    title: str
    source: str  # where the choices come from
    home: str  # where the data set is to be had
    layout: str  # what the given folder must hold
    kind: str  # the reader, as ``kind_of`` names it
    patterns: tuple[str, ...]  # of the sequences' folders below the given one
    names: tuple[str, ...] = ()  # of the sequences that count; empty: all
    tasks: tuple[str, ...] = (POSE,)
    lengths: tuple[int, ...] = _LONG  # numbers of views that the papers report
    stride: int = 1
    start: int = 0  # frames left out at the beginning
    needs: str = ''  # frames without this (pose, depth) do not count
    max_depth_m: float | None = None  # true depth from here on is left out
    clip_m: float | None = None  # estimated depth is cut off here
    depth_factor: float = 1.0  # of the reader's depth, to get that of the papers

    def find(self, root: Path) -> list[Path]:
        """
        Return the folders of the sequences below a folder, sorted.

        :raises UserError: there are none; the message says where to get them and the layout.
        """
        found = {path for pattern in self.patterns for path in root.glob(pattern)}
        sequences = [path for path in sorted(found) if self._counts(path)]
        if not sequences:
            raise UserError(
                f'{root} holds no sequence of {self.title}; get them from {self.home} and give '
                f'the folder that holds {self.layout}'
            )
        return sequences

    def _counts(self, path: Path) -> bool:
        if not path.is_dir() or (self.names and path.name not in self.names):
            return False
        split = path.parent / 'TestSplit.txt'
        if self.kind == '7scenes' and split.exists():
            numbers = [''.join(filter(str.isdigit, line)) for line in split.read_text().split()]
            if path.name not in {f'seq-{int(number):02d}' for number in numbers if number}:
                return False
        try:
            return kind_of(path) == self.kind
        except UserError:
            return False


PROTOCOLS = {
    'tum-dynamics': Protocol(
        title='TUM RGB-D, dynamic objects',
        source='TTT3R: every image with a true pose within 20 ms',
        home='the TUM RGB-D benchmark, cvg.cit.tum.de',
        layout='rgbd_dataset_freiburg3_{sitting,walking}_{static,xyz,halfsphere,rpy}',
        kind='tum',
        patterns=('*freiburg3_sitting_*', '*freiburg3_walking_*'),
        needs=POSE,
    ),
    'scannet': Protocol(
        title='ScanNet',
        source='TTT3R: every third image',
        home='ScanNet, www.scan-net.org',
        layout='scans as SensReader exports them (scene*/color, pose, intrinsic)',
        kind='scannet',
        patterns=('scene*', 'scans_test/scene*'),
        stride=3,
    ),
    'sintel': Protocol(
        title='MPI Sintel, final pass',
        source='MonST3R: 14 sequences, depth below 70 m',
        home='MPI Sintel, sintel.is.tue.mpg.de',
        layout='training/final, training/depth and training/camdata_left',
        kind='sintel',
        patterns=('training/final/*', 'final/*'),
        names=tuple(_SINTEL.split()),
        tasks=(POSE, DEPTH),
        lengths=(50,),
        max_depth_m=70.0,
        clip_m=70.0,
    ),
    'bonn': Protocol(
        title='Bonn RGB-D Dynamic',
        source='TTT3R: five sequences from image 30 on, stored units over 5000',
        home='the Bonn RGB-D Dynamic Dataset, www.ipb.uni-bonn.de',
        layout='rgbd_bonn_{balloon2,crowd2,crowd3,person_tracking2,synchronous}',
        kind='bonn',
        patterns=('rgbd_bonn_*', 'rgbd_bonn_dataset/rgbd_bonn_*'),
        names=tuple(
            f'rgbd_bonn_{name}'
            for name in ('balloon2', 'crowd2', 'crowd3', 'person_tracking2', 'synchronous')
        ),
        tasks=(DEPTH,),
        lengths=_DEPTH_LENGTHS,
        start=30,
        max_depth_m=70.0,
        depth_factor=1.0 / DEPTH_SCALE,
    ),
    'kitti-depth': Protocol(
        title='KITTI depth, validation drives',
        source='TTT3R: the images of camera 2 that have annotated depth',
        home='the KITTI depth benchmark and raw data, www.cvlibs.net',
        layout='val/*_sync with proj_depth, and the raw drives beside it',
        kind='kitti_raw',
        patterns=('val/*_sync', '*_sync'),
        tasks=(DEPTH,),
        lengths=_DEPTH_LENGTHS,
        needs=DEPTH,
    ),
    'kitti-odometry': Protocol(
        title='KITTI odometry, sequences 00 to 10',
        source='the KITTI odometry benchmark; ATE after Sim(3), as monocular systems report it',
        home='the KITTI odometry benchmark, www.cvlibs.net',
        layout='sequences/00 to 10 and poses/00.txt to 10.txt',
        kind='kitti',
        patterns=('sequences/*', 'dataset/sequences/*'),
        names=tuple(f'{number:02d}' for number in range(11)),
    ),
    '7scenes': Protocol(
        title='7-Scenes, test split',
        source='TTT3R: every second image, the central 224x224 pixels',
        home='Microsoft 7-Scenes, www.microsoft.com/research',
        layout='SCENE/seq-NN and SCENE/TestSplit.txt',
        kind='7scenes',
        patterns=('*/seq-*', 'seq-*'),
        tasks=(RECONSTRUCTION,),
        lengths=(50, 100, 150, 200, 250, 300, 350, 400),
        stride=2,
        max_depth_m=10.0,
    ),
    'nrgbd': Protocol(
        title='Neural RGB-D',
        source='TTT3R: every image, the central 224x224 pixels',
        home='Neural RGB-D Surface Reconstruction, github.com/dazinovic',
        layout='SCENE/images, SCENE/depth and SCENE/poses.txt',
        kind='nrgbd',
        patterns=('*',),
        tasks=(RECONSTRUCTION,),
        lengths=(50, 100, 150, 200, 250, 300, 350, 400),
        max_depth_m=10.0,
    ),
    'euroc': Protocol(
        title='EuRoC MAV, left camera',
        source='eleven sequences; ATE after Sim(3), as monocular systems report it',
        home='the ASL data sets, projects.asl.ethz.ch',
        layout='MH_01_easy ... V2_03_difficult, each with mav0',
        kind='euroc',
        patterns=('*', '*/*'),
        names=tuple(_EUROC.split()),
    ),
}


def protocol(name: str) -> Protocol:
    """
    Return the protocol of a name.

    :raises UserError: there is none.
    """
    if name not in PROTOCOLS:
        raise UserError(
            f'protocol is {name!r}; choose {", ".join(PROTOCOLS)}{nearest_name(name, PROTOCOLS)}'
        )
    return PROTOCOLS[name]


def published(name: str) -> list[dict[str, Any]]:
    """Return the published figures of a protocol: metric, views, method, value and source."""
    rows = json.loads(PUBLISHED.read_text(encoding='utf-8'))
    return [row for row in rows if row['protocol'] == name]
