"""Metrics of what was graded and how surely: they show a scanner, a protocol or a model that is not as it was.

No label comes from an upload: levels, grades and warning codes are names of ours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from discgrade.result import Disc, GradingResult, Pfirrmann, Severity
from gateway.telemetry.ranges import DISC_RANGES, TRAINING_RANGES
from gateway.telemetry.signals import Signals

__all__ = ["Quality"]

_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_DISCS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 24)
_SLICE_MM = (1.0, 2.0, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, 12.0, 20.0)
_PIXEL_MM = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.6, 2.5)
_BRIGHTNESS = (0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.22, 0.26, 0.3, 0.4, 1.0)
_DISC_WIDTH_MM = 40.0
"""Slices that cover less do not hold whole discs, and say nothing of their volume."""
_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0)


class Quality:
    """The collectors; :meth:`observe` fills them.

    Args:
        registry: Where they are exposed.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, what: str, buckets: Iterable[float], *labels: str) -> Histogram:
            return Histogram(f"discgrade_{name}", what, labels, buckets=tuple(buckets), registry=registry)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"discgrade_{name}", what, labels, registry=registry)

        self._discs_per_study = histogram("discs_per_study", "Discs found in a graded study.", _DISCS, "release")
        self._studies = counter(
            "studies", "Graded studies by the release that graded them and the input's format.", "release", "format"
        )
        self._inference = histogram(
            "inference_seconds", "Seconds from the call to Triton to its answer, by release.", _SECONDS, "release"
        )
        self._discs = counter(
            "discs", "Discs by level (or unknown), severity and release.", "level", "severity", "release"
        )
        self._pfirrmann = counter("disc_pfirrmann", "Discs by Pfirrmann grade.", "grade")
        self._confidence = histogram(
            "grade_confidence", "Probability of the grade given to a disc.", _SHARES, "grading", "release"
        )
        self._entropy = histogram(
            "grade_entropy", "Entropy of a disc's grades, 0 (sure) to 1 (all alike).", _SHARES, "grading"
        )
        self._level_confidence = histogram("level_confidence", "How sure a disc's level is.", _SHARES)
        self._mask_certainty = histogram(
            "mask_certainty",
            "Share of a study's disc voxels with a disc probability of 0.9 or more.",
            _SHARES,
            "release",
        )
        self._implausible = counter(
            "implausible_discs", "Discs whose measure is not one that lumbar discs have.", "measure"
        )
        self._warnings = counter("result_warnings", "Warnings of results by code.", "code")
        self._slices = histogram(
            "input_slices", "Slices of a graded study.", (1, 5, 9, 11, 13, 15, 17, 20, 30, 60, 256)
        )
        self._slice_mm = histogram("input_slice_spacing_mm", "Spacing between slices.", _SLICE_MM)
        self._pixel_mm = histogram("input_pixel_spacing_mm", "The larger spacing within a slice.", _PIXEL_MM)
        self._brightness = histogram("input_brightness", "Mean of the normalised image, 0 to 1.", _BRIGHTNESS)
        self._unlike_training = counter(
            "input_out_of_range", "Graded studies with a property that no training study had.", "property"
        )
        self._model_used = Gauge(
            "discgrade_model_last_used_timestamp_seconds",
            "When a model last took part in a grading; its labels say which version and engine.",
            ["model", "version", "engine"],
            registry=registry,
        )
        for measure in DISC_RANGES:  # series exist from the start, so that a rate over them has a zero to start from
            self._implausible.labels(measure)
        for name in TRAINING_RANGES:
            self._unlike_training.labels(name)
        for grade in Pfirrmann:
            self._pfirrmann.labels(grade)

    def observe(self, result: GradingResult, signals: Signals) -> None:
        """Count one graded study."""
        release = result.models[0].version
        self._studies.labels(release, result.input.format).inc()
        self._inference.labels(release).observe(result.timings_ms["inference"] / 1000)
        self._discs_per_study.labels(release).observe(len(result.discs))
        self._mask_certainty.labels(release).observe(signals.mask_certainty)
        for warning in result.warnings:
            self._warnings.labels(warning.code).inc()
        for model in result.models:
            self._model_used.labels(model.name, model.version, model.engine).set(time.time())
        for disc in result.discs:
            self._disc(disc, release, wide=result.input.slices * result.input.spacing_mm[0] >= _DISC_WIDTH_MM)
        self._input(result, signals)

    def _disc(self, disc: Disc, release: str, *, wide: bool) -> None:
        self._discs.labels(disc.level, disc.severity, release).inc()
        self._pfirrmann.labels(disc.pfirrmann).inc()
        self._level_confidence.observe(disc.level_confidence)
        self._confidence.labels("severity", release).observe(disc.severity_probabilities[disc.severity])
        self._confidence.labels("pfirrmann", release).observe(disc.pfirrmann_probabilities[disc.pfirrmann])
        self._entropy.labels("severity").observe(_entropy(disc.severity_probabilities.values(), len(Severity)))
        self._entropy.labels("pfirrmann").observe(_entropy(disc.pfirrmann_probabilities.values(), len(Pfirrmann)))
        measures = {"height": disc.height_mm, "area": disc.area_mm2, "volume": disc.volume_mm3 if wide else None}
        for name, measure in measures.items():
            if measure is not None and not DISC_RANGES[name].holds(measure):
                self._implausible.labels(name).inc()

    def _input(self, result: GradingResult, signals: Signals) -> None:
        slice_mm, *in_plane = result.input.spacing_mm
        self._slices.observe(result.input.slices)
        self._pixel_mm.observe(max(in_plane))
        self._brightness.observe(signals.brightness)
        properties = {
            "pixel_spacing": in_plane,
            "brightness": [signals.brightness],
            "contrast": [signals.contrast],
            "saturation": [signals.saturation],
        }
        if result.input.slices > 1:  # one slice has no spacing to others
            self._slice_mm.observe(slice_mm)
            properties["slice_spacing"] = [slice_mm]
        for name, values in properties.items():
            if not all(TRAINING_RANGES[name].holds(value) for value in values):
                self._unlike_training.labels(name).inc()


def _entropy(probabilities: Iterable[float], classes: int) -> float:
    """Shannon's entropy as a share of the most that so many classes can have."""
    return max(-sum(p * math.log(p) for p in probabilities if p > 0) / math.log(classes), 0.0)
