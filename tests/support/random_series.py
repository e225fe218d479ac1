"""Series of random geometry with random labels on them: what the segmentation says must not depend on spines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from discgrade.result import Disc, GradingResult, InputDescription, ModelUsed, Pfirrmann, Severity
from gateway.dicom_out import DICOM_SEGMENTATION, build_dicom, pack_source
from gateway.nifti_out import label_image
from preprocess.study import read_study
from tests.support import dicom_files

__all__ = ["a_result", "random_result"]


def a_result(levels: tuple[str, ...], format: str = "dicom") -> GradingResult:
    """A result with a disc for each level, the lowest first."""
    discs = [
        Disc(
            level=level,
            level_confidence=0.9,
            severity=Severity.MODERATE,
            severity_probabilities=dict.fromkeys(Severity, 1 / 3),
            pfirrmann=Pfirrmann.III,
            pfirrmann_probabilities=dict.fromkeys(Pfirrmann, 0.2),
            label=label,
            centroid_mm_lps=(0.0, 0.0, 0.0),
            area_mm2=300.0,
            volume_mm3=None,
            height_mm=8.0,
        )
        for label, level in enumerate(levels, start=1)
    ]
    return GradingResult(
        result_id="0" * 32,
        input=InputDescription(
            format=format, chosen_series=None, chosen_because="", slices=1, spacing_mm=(4.0, 1.0, 1.0)
        ),
        discs=discs[::-1],
        models=[ModelUsed(name="lumbar_grading", version="1", engine="ensemble")],
        timings_ms={},
        warnings=[],
    )


def random_result(seed: int, folder: Path, *, slices: int, multiframe: bool) -> tuple[dict[str, bytes], bytes]:
    """What is kept of a result, and its segmentation.

    Slices are stored in random order; of a multi-frame object, only the frames of one echo are graded.
    """
    random = np.random.default_rng(seed)
    # Sagittal within a tilt, as other series are refused: rows to the back, columns down.
    tilt = Rotation.from_euler("xyz", random.uniform(-12, 12, 3), degrees=True).as_matrix()
    orientation = np.concatenate([tilt @ [0, 1, 0], tilt @ [0, 0, -1]])
    origin = random.uniform(-150, 150, 3)
    image = dicom_files.pixels(slices, 26, 22)
    order = random.permutation(slices)
    step = float(random.uniform(2, 6))
    if multiframe:
        datasets = [
            dicom_files.enhanced_dataset(
                image,
                orientation.tolist(),
                step=step,
                origin=origin.tolist(),
                order=order.tolist(),
                echo_times=(102.0, 11.0),
            )
        ]
    else:
        spacing = [round(float(value), 4) for value in random.uniform(0.4, 1.5, 2)]
        series = dicom_files.series_datasets(
            image, orientation.tolist(), step=step, origin=origin.tolist(), PixelSpacing=spacing
        )
        datasets = [series[k] for k in order]
    files = dicom_files.write(datasets, folder / "series")
    (folder / "work").mkdir()
    study = read_study(files, folder / "work")
    labels = random.integers(0, 4, study.volume.array.shape).astype(np.uint8)
    assert study.source is not None
    kept = {
        "result.json": a_result(("L5/S1", "unknown", "L4/L5")).model_dump_json().encode(),
        "segmentation.nii.gz": label_image(labels, study.volume.affine, slices_first=True),
        "source.json": pack_source(study.source),
    }
    return kept, build_dicom(kept)[DICOM_SEGMENTATION]
