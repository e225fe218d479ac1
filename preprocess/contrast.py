"""Tells T2-weighted series from the others, by their timing first and their description second."""

from __future__ import annotations

import re
from enum import Enum

from preprocess.dicom_slice import Acquisition

__all__ = ["Weighting", "describes", "image_kind", "is_derived", "is_localizer", "weighting"]


class Weighting(Enum):
    """What a series shows; the value is how to call it in a sentence."""

    T2 = "T2"
    T2_FAT_SUPPRESSED = "fat-suppressed T2"
    STIR = "STIR"
    T1 = "T1"
    PROTON_DENSITY = "proton density"
    FLAIR = "FLAIR"
    OTHER = "other contrast"
    UNKNOWN = "unknown contrast"


# Milliseconds. Fast spin echo T2 of the spine: TE 80-130, TR 2500-6000; 3-D ones (SPACE, CUBE, VISTA) drive the
# magnetisation back to equilibrium and go down to TR 1000.
_T2_ECHO, _T2_ECHO_DESCRIBED = 60.0, 50.0
_T2_REPETITION, _T2_REPETITION_3D = 1500.0, 900.0
_STIR_INVERSION = (100.0, 260.0)  # nulls fat at 0.5 T to 3 T
_FLAIR_INVERSION = 1500.0  # nulls water
_T1_ECHO = 40.0

_BREAK = r"(?<![a-z0-9])"
_END = r"(?![a-z0-9])"
_WORDS = {
    "t2": re.compile(rf"(?:{_BREAK}|sag|tse|fse)t2(?![0-9*]|[ _-]*(?:\*|star|map|gre|ffe))"),
    "t1": re.compile(rf"(?:{_BREAK}|sag|tse|fse)t1(?![0-9])"),
    "fast spin echo": re.compile(r"tse|fse|space|(?<![a-z])spc|cube|vista|haste|blade|propeller|multivane"),
    "proton density": re.compile(rf"{_BREAK}pdw?{_END}|proton|{_BREAK}dp{_END}"),
    "flair": re.compile(r"flair|dark[ _-]*fluid"),
    "stir": re.compile(rf"stir|tirm|{_BREAK}tir2d|{_BREAK}spcir"),
    "fat suppressed": re.compile(
        rf"{_BREAK}(?:t2)?(?:tse|fse|frfse|space)?(?:fs|fatsat|fat[ _-]*(?:sat|supp)\w*){_END}|{_BREAK}fst2"
        rf"|fat[ _-]*sat|spair|{_BREAK}spir{_END}|chess|water[ _-]*exc|{_BREAK}water:"
        rf"|(?:dixon|ideal|flex).*[ _-](?:w|water){_END}"
    ),
    "not fat suppressed": re.compile(
        rf"{_BREAK}(?:no|non|not|without|w[ _/-]*o|ohne|sans)[ _-]*(?:fs|fat[ _-]*(?:sat|supp)\w*){_END}"
    ),
    "fat image": re.compile(
        rf"(?:dixon|ideal|flex).*[ _-](?:f|fat|opp\w*|out){_END}|{_BREAK}fat:|(?:opp(?:osed)?|out)[ _-]*phase"
    ),
    "other": re.compile(
        rf"t2[ _-]*(?:\*|star|map|gre|ffe)|myelo|{_BREAK}(?:mrm|merge|medic|dwi?|sub){_END}"
        rf"|{_BREAK}(?:adc|trace|ep2d|perf|diff|swi|fiesta|trufi|ciss|tof|angio|calib|subtract)"
    ),
    "localizer": re.compile(rf"locali[sz]er|{_BREAK}loc{_END}|scout|survey|3[ _-]*plane|plan[ _-]*scan|smartbrain"),
    "lumbar": re.compile(rf"lumb|{_BREAK}l[ _-]?spine|lsspine|{_BREAK}lws{_END}|{_BREAK}ls{_END}|lenden|lombai?r"),
    "spine": re.compile(r"spine|wirbel|rachis|columna"),
    "elsewhere": re.compile(
        rf"cerv|thor|{_BREAK}[ct][ _-]?spine|{_BREAK}[hb]ws{_END}|brain|head|skull|neck"
        rf"|knee|should|hip{_END}|ankle|wrist"
    ),
}
_DERIVED = frozenset({"secondary", "mpr", "reformatted", "csa 3d", "resampled"})
_WATER = frozenset({"w", "water"})
_FAT_OR_PHASE = {
    "f",
    "fat",
    "op",
    "opp_phase",
    "out_phase",
    "opposed_phase",
    "p",
    "phase",
    "r",
    "real",
    "i",
    "imaginary",
}
_MAP_OR_PROJECTION = {
    "adc",
    "trace",
    "t2_map",
    "b0_map",
    "fat_fraction",
    "mip",
    "min_ip",
    "projection_image",
    "mpr_mip",
}
_NOT_AN_IMAGE = frozenset(_FAT_OR_PHASE | _MAP_OR_PROJECTION | {"subtraction", "subtract"})
_SUPPRESSED_OPTIONS = frozenset({"fs", "fatsat", "fat_sat", "fs_gems", "spir", "spair", "we", "dixw"})
_ENHANCED = {
    "t2": Weighting.T2,
    "t1": Weighting.T1,
    "stir": Weighting.STIR,
    "fluid_attenuated": Weighting.FLAIR,
    "proton_density": Weighting.PROTON_DENSITY,
    "diffusion": Weighting.OTHER,
    "flow_encoded": Weighting.OTHER,
    "perfusion": Weighting.OTHER,
    "t2_star": Weighting.OTHER,
    "tagging": Weighting.OTHER,
}


def describes(acquisition: Acquisition, word: str) -> bool:
    """Whether the description, body part or sequence name says ``word`` (a key of this module's vocabulary)."""
    told = f"{acquisition.description} {acquisition.body_part} {acquisition.sequence_name}"
    return _WORDS[word].search(told) is not None


def is_localizer(acquisition: Acquisition) -> bool:
    """Whether the series only serves to plan others."""
    return "localizer" in acquisition.image_type or describes(acquisition, "localizer")


def is_derived(acquisition: Acquisition) -> bool:
    """Whether the series was computed from another: reformatted, resampled, captured."""
    return bool(_DERIVED.intersection(acquisition.image_type))


def image_kind(acquisition: Acquisition) -> frozenset[str]:
    """Which part of the signal an image shows, where one acquisition gives several: water, fat, phase, a map."""
    told = frozenset(word.replace(" ", "_") for word in acquisition.image_type[2:])
    return told & (_WATER | _NOT_AN_IMAGE)


def weighting(acquisition: Acquisition) -> Weighting:
    """The contrast of a series.

    Echo and repetition time decide where both are given; the description decides what they leave open.
    Fat suppression is never read from saturation bands (``SAT``), which GE and Siemens list beside it.

    Returns:
        The weighting; ``UNKNOWN`` where neither timing nor description says anything.
    """
    if acquisition.diffusion or "ep" in acquisition.scanning_sequence or describes(acquisition, "other"):
        return Weighting.OTHER
    if _NOT_AN_IMAGE & image_kind(acquisition) or describes(acquisition, "fat image"):
        return Weighting.OTHER
    if acquisition.contrast in _ENHANCED:
        plain = _ENHANCED[acquisition.contrast]
    elif _is_gradient_echo(acquisition):
        return Weighting.OTHER
    else:
        plain = _inversion(acquisition) or _timing(acquisition) or _described(acquisition)
    if plain is Weighting.T2 and _is_fat_suppressed(acquisition):
        return Weighting.T2_FAT_SUPPRESSED
    return plain


def _is_gradient_echo(acquisition: Acquisition) -> bool:
    sequence = acquisition.scanning_sequence
    if "se" in sequence:
        return False
    return "gr" in sequence or (not sequence and bool({"ss", "sp"}.intersection(acquisition.sequence_variant)))


def _inversion(acquisition: Acquisition) -> Weighting | None:
    delay = acquisition.inversion_time
    if describes(acquisition, "flair"):
        # T1 FLAIR has a short echo
        return Weighting.T1 if (acquisition.echo_time or 100.0) < _T1_ECHO else Weighting.FLAIR
    if delay is not None and _STIR_INVERSION[0] <= delay <= _STIR_INVERSION[1]:
        return Weighting.STIR
    if delay is not None and delay >= _FLAIR_INVERSION and (acquisition.echo_time or 0.0) >= _T2_ECHO:
        return Weighting.FLAIR
    if describes(acquisition, "stir"):
        return Weighting.STIR
    return None


def _timing(acquisition: Acquisition) -> Weighting | None:
    echo, repetition = acquisition.echo_time, acquisition.repetition_time
    told_t2 = describes(acquisition, "t2")
    long_echo = echo is not None and echo >= (_T2_ECHO_DESCRIBED if told_t2 else _T2_ECHO)
    if echo is None and repetition is None:
        return None
    if repetition is None:
        return Weighting.T2 if long_echo else Weighting.T1 if echo is not None and echo < _T1_ECHO else None
    driven = acquisition.three_dimensional or told_t2
    long_repetition = repetition >= (_T2_REPETITION_3D if driven else _T2_REPETITION)
    if echo is None:
        return None if long_repetition else Weighting.T1
    if long_echo:
        return Weighting.T2 if long_repetition else Weighting.OTHER
    if repetition < _T2_REPETITION or describes(acquisition, "t1"):
        return Weighting.T1
    return Weighting.PROTON_DENSITY


def _described(acquisition: Acquisition) -> Weighting:
    for word, kind in (
        ("t2", Weighting.T2),
        ("t1", Weighting.T1),
        ("proton density", Weighting.PROTON_DENSITY),
    ):
        if describes(acquisition, word):
            return kind
    return Weighting.UNKNOWN


def _is_fat_suppressed(acquisition: Acquisition) -> bool:
    if acquisition.suppression in {"fat", "fat_and_water"} or _WATER & image_kind(acquisition):
        return True
    if _SUPPRESSED_OPTIONS.intersection(acquisition.scan_options):
        return True
    return describes(acquisition, "fat suppressed") and not describes(acquisition, "not fat suppressed")
