"""The data sets that are folders of images with text files of boxes, one description each."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Flags:
    """Attributes as one file per sequence, `{folder}/{sequence}.txt`, a 0 or 1 for each name."""

    folders: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Attributes as one file per attribute, `{folder}/{name}.txt`, a line for each sequence.

    `order`: files that list the sequences in that order, the first that is there counts.
    """

    folder: str
    names: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """Where things are. Of several places the first that is there counts.

    `rgb`, `thermal`: folders of images within a sequence's folder ('.': itself). `rgb_name`,
    `thermal_name`: pattern of names (without suffix) that only this modality has, or ''.
    `truth`, `truth_thermal`: box files within a sequence's folder; with `{name}` within the root.
    `needs_truth`: whether a sequence without boxes is an error. `form`, `delimiters`: see
    text.read_boxes. `step`: frames from one row to the next. `splits`: option `split` -> patterns
    of the folders that hold its sequences; the first is the default, and the root itself is taken
    where none of them is there. `lists`: split -> files that name the official sequences.
    `around`: whether files that are not a sequence's own may also lie beside the root.
    """

    thermal: tuple[str, ...]
    truth: tuple[str, ...]
    rgb: tuple[str, ...] = ()
    rgb_name: str = ''
    thermal_name: str = ''
    truth_thermal: tuple[str, ...] = ()
    needs_truth: bool = True
    form: str = 'xywh'
    delimiters: str = ','
    step: int = 1
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {'all': ()})
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: Flags | Columns | None = None
    around: bool = True


_LASHER = ('NO', 'PO', 'TO', 'HO', 'MB', 'LI', 'HI', 'AIV', 'LR', 'DEF', 'BC', 'SA', 'CM', 'TC',
           'FL', 'OV', 'FM', 'SV', 'ARC')
_RGBT234 = ('BC', 'CM', 'DEF', 'FM', 'HO', 'LI', 'LR', 'MB', 'NO', 'TC', 'PO', 'SC')
_LSOTB = ('DEF', 'OCC', 'DIS', 'BC', 'OV', 'SV', 'FM', 'MB', 'TC', 'IV', 'LR', 'ARV',
          'VM', 'DM', 'SU', 'HH')     # the last four are scenarios: vehicle, drone, ...
_PTB = ('DEF', 'OCC', 'SV', 'BC', 'LR', 'FM', 'MB', 'OV', 'IV', 'TC')

FOLDER_LAYOUTS: dict[str, FolderLayout] = {
    # Li et al., "LasHeR: A Large-Scale High-Diversity Benchmark for RGBT Tracking", TIP 2022.
    # The aligned release: one set of boxes holds for both images.
    'lasher': FolderLayout(
        rgb=('visible',), thermal=('infrared',), rgb_name=r'v\d+', thermal_name=r'i\d+',
        truth=('init.txt', 'visible.txt', 'annos/{name}.txt', 'lasher_gt/{name}.txt'),
        splits={'test': ('testingset',), 'train': ('trainingset',),
                'all': ('testingset', 'trainingset')},
        lists={'test': ('testingsetList.txt', 'lashertest.txt', 'lashertestingset.txt'),
               'train': ('trainingsetList.txt', 'lashertrain.txt', 'lashertrainingset.txt')},
        attributes=Flags(('AttriSeqsTxt', 'attributes', 'att', 'annos/att'), _LASHER)),
    # Li et al., "RGB-T object tracking: Benchmark and baseline", PR 2019; two tracks.
    'rgbt234': FolderLayout(
        rgb=('visible',), thermal=('infrared',), rgb_name=r'\d+v', thermal_name=r'\d+i',
        truth=('visible.txt',), truth_thermal=('infrared.txt',),
        lists={'all': ('SequencesName.txt', 'attr_txt/SequencesName.txt', 'rgbt234.txt')},
        attributes=Columns('attr_txt', _RGBT234,
                           ('attr_txt/SequencesName.txt', 'SequencesName.txt'))),
    # Li et al., "Weighted Sparse Representation Regularized Graph Learning", ACM MM 2017. Its
    # attribute files may list more sequences than it has.
    'rgbt210': FolderLayout(
        rgb=('visible',), thermal=('infrared',), rgb_name=r'\d+v', thermal_name=r'\d+i',
        truth=('init.txt',),
        lists={'all': ('SequencesName.txt', 'rgbt210.txt')},
        attributes=Columns('attr_txt', _RGBT234,
                           ('attr_txt/SequencesName.txt', 'SequencesName.txt'))),
    # Li et al., "Learning Collaborative Sparse Representation for Grayscale-Thermal Tracking",
    # TIP 2016. Two tracks of corners.
    'gtot': FolderLayout(
        rgb=('v',), thermal=('i',), rgb_name=r'\d+v', thermal_name=r'\d+i',
        truth=('groundTruth_v.txt',), truth_thermal=('groundTruth_i.txt',), form='corners',
        delimiters=' \t', lists={'all': ('SequencesName.txt', 'gtot.txt')}),
    # Zhang et al., "Visible-Thermal UAV Tracking", CVPR 2022. Every tenth frame has a row.
    'vtuav': FolderLayout(
        rgb=('rgb',), thermal=('ir', 'ir_gray'), truth=('rgb.txt',), truth_thermal=('ir.txt',),
        delimiters=' \t', step=10,
        splits={'ST': ('test_ST', 'test_ST_*'), 'LT': ('test_LT', 'test_LT_*'),
                'train_ST': ('train_ST', 'train_ST_*'), 'train_LT': ('train_LT', 'train_LT_*')},
        lists={'ST': ('VTUAV-ST.txt',), 'LT': ('VTUAV-LT.txt',),
               'train_ST': ('ST_train_split.txt',), 'train_LT': ('LT_train_split.txt',)}),
    # Liu et al., "LSOTB-TIR", ACM MM 2020: the evaluation set.
    'lsotb': FolderLayout(
        thermal=('img',), truth=('anno/{name}.txt',),
        splits={'eval': ('sequences', 'Evaluation*/sequences')},
        lists={'eval': ('LSOTB-TIR.txt',)}, attributes=Flags(('anno/att',), _LSOTB)),
    # Liu et al., "PTB-TIR: A Thermal Infrared Pedestrian Tracking Benchmark", TMM 2020.
    'ptb': FolderLayout(
        thermal=('img',), truth=('tiranno/{name}.txt',), splits={'all': ('tirsequences',)},
        lists={'all': ('PTB-TIR.txt',)}, attributes=Flags(('tiranno/att',), _PTB)),
    # Your own: one folder of images per modality; boxes are optional.
    'folder': FolderLayout(
        rgb=('rgb', 'visible', 'color', 'vis'), thermal=('thermal', 'infrared', 'ir', 'lwir'),
        truth=('groundtruth.txt', 'groundtruth_rect.txt', 'groundtruth.csv'), needs_truth=False,
        delimiters=',\t ', lists={'all': ('list.txt', 'sequences.txt')}, around=False),
}
