"""Cleans descriptors: of free text only words stay that are known to say how an image was made, and of what."""

from __future__ import annotations

import re

__all__ = ["clean"]

_WORDS = """
2d 3d adc angio ankle ax axial blade brain bws c calib cerv cervical chess ciss columna cor coronal cspine cube dark
diff dixon dp dw dwi ep2d exc excitation f fat fatsat fatsupp ffe fiesta fl3d flair flex fluid fov fraction frfse fs
fse fst2 ge gre haste head hip hws ideal in iso knee l lenden loc localiser localizer lomb lombaire lombar lombo ls
lspine lsspine lumb lumbal lumbar lumbosacral lws map mapping mdixon medic merge mpr mprage mr mri mrm multivane myelo
neck no non not o ohne only opp opposed out pd pdw perf phase plan plane propeller proton rachis routine s sag
sagittal sans sat saturation scan scout se shoulder skull smartbrain space spair spc spcir spectral spin spinal spine
spir star stir sub subtract subtraction supp suppressed suppression survey swi t t1 t1w t2 t2w thor thoracal thoracic
tir2d tirm tof tra trace transversal trufi tse tspine turbo vista w water weighted wirbel wirbelsaeule wirbelsäule
with without wo wrist
"""
_ALONE = frozenset(_WORDS.split())
_FUSED = "sag|tra|cor|t1w|t2w|t1|t2|tse|fse|frfse|stir|tirm|flair|space|dixon|fs|pd|lws|3d|2d"
_RUN = re.compile(rf"(?:{_FUSED})+", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_ODD = re.compile(r"[^\w *:/+-]|\s")
_GAPS = re.compile(r"([ _*:/+-])\1+")
_MOST = 64


def clean(text: str) -> str:
    """Keep the known words of a descriptor, with the separators between them.

    Args:
        text: Such as ``t2_tse_sag Mustermann 4711``.

    Returns:
        Such as ``t2_tse_sag``; '' where no word is known.
    """
    kept = _WORD.sub(lambda word: word[0] if _is_known(word[0]) else "", text)
    return _GAPS.sub(r"\1", _ODD.sub(" ", kept)).strip(" _:/+-")[:_MOST]


def _is_known(word: str) -> bool:
    return word.lower() in _ALONE or _RUN.fullmatch(word) is not None
