"""What was tried for claims, where that takes more than a few lines."""
from __future__ import annotations

TRIED_ADAPT = (
    'The cameras, `dusk`: a black-hot thermal image with a seventh of its levels and deep '
    'stripes, a dark and noisy RGB image. Milder ones, on which trials had gained 1.8 to 4.6 '
    'points, were made darker, by how the shipped student does there, before anything was '
    'distilled on these. On those that the student of before was measured on '
    '(`restyled`) the present one has hardly anything to gain: 90.2, and 92.0 on the cameras of '
    'before. Seeds 1 to 3 were used up: with them the recipe of before brought 1.2, 7.9 and 5.6 '
    'points (20 videos each), and by their recordings it was found out why no more: the offset '
    'of thermal was not found in the noise, and made-up scenes dressed for these cameras had too '
    'little of their pattern, none of their falling palette and too dark targets. Judged on '
    'seeds 4 to 6. With the tuning seed, 0, and 30 videos (the shipped '
    'student 66.6 there, 93.4 on the cameras of before): the recipe of before 72.0 and 93.0, with '
    'scenes dressed as now 77.1 and 92.9, at a slightly larger share of them than the recipe '
    'has. The rule by which a student is handed over was changed twice after seeds were seen: '
    'both measures decide together since seed 5 was refused for one of them (+2.7 and +1.2 '
    'points), and scenes are counted, not samples (see D1.4). Students, and what they do on '
    'videos and cameras, are of one training; which of them counts, and the verdict, are by the '
    'present rule.')
