"""The two networks, as they are trained and as they are exported.

Both take what Triton hands them and give what the ensemble promises (see docs/tensors.md), so nothing has to be
repeated around them: scaling of the input and the final probabilities are part of the graph.
"""

from __future__ import annotations

from preprocess.crops import CROP_SHAPE
from training.networks.grader import FEATURES, DiscGrader, ExportedGrader, agree, ordinal_probabilities, tempered
from training.networks.segmenter import TISSUES, ExportedSegmenter, SpineUNet

__all__ = [
    "CROP_SHAPE",
    "FEATURES",
    "TISSUES",
    "DiscGrader",
    "ExportedGrader",
    "ExportedSegmenter",
    "SpineUNet",
    "agree",
    "ordinal_probabilities",
    "tempered",
]
