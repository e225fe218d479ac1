"""Ask Triton's ensemble directly, without the gateway: for programs that hold an image as an array already.

    python examples/triton_direct.py STUDY [HOST:PORT]

``infer`` needs numpy and ``tritonclient[grpc]`` only; ``to_tensors`` uses discgrade's readers to make the three input
tensors of a file or folder. docs/tensors.md describes every tensor. For research use only.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput

OUTPUTS = ("LEVELS", "LEVEL_CONFIDENCE", "SEVERITY_PROBABILITIES", "PFIRRMANN_PROBABILITIES")
"""Those that are printed here."""

SEVERITIES = ("mild", "moderate", "severe")
GRADES = ("I", "II", "III", "IV", "V")
DEADLINE_SECONDS = 60.0
TYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


def to_tensors(study: Path) -> dict[str, NDArray[Any]]:
    """Read a study and bring it onto the networks' grid.

    Args:
        study: A folder of DICOM files, one DICOM file, a zip of them, or a NIfTI file.

    Returns:
        ``IMAGE`` uint8 (slices, 1, rows, columns), ``FIELD_OF_VIEW`` int32 (4,), ``SLICE_SPACING`` float32 (1,) in mm.
    """
    from preprocess.grid import to_grid
    from preprocess.study import read_study

    files = sorted(path for path in study.rglob("*") if path.is_file()) if study.is_dir() else [study]
    with tempfile.TemporaryDirectory() as workdir:
        grid = to_grid(read_study(files, Path(workdir)).volume)
    return {
        "IMAGE": grid.pixels[:, None],
        "FIELD_OF_VIEW": np.array(grid.field_of_view, dtype=np.int32),
        "SLICE_SPACING": np.array([grid.slice_spacing_mm], dtype=np.float32),
    }


def infer(url: str, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run the ensemble.

    Args:
        url: host:port of Triton's gRPC service.
        tensors: As :func:`to_tensors` makes them.

    Returns:
        :data:`OUTPUTS`, one row a disc, from the lowest disc up.

    Raises:
        tritonclient.utils.InferenceServerException: With ``NO_DISCS_FOUND`` in its message if no lumbar spine is seen.
    """
    inputs = []
    for name, array in tensors.items():
        inputs.append(InferInput(name, list(array.shape), TYPES[array.dtype.name]))
        inputs[-1].set_data_from_numpy(np.ascontiguousarray(array))
    with InferenceServerClient(url) as client:  # no outputs are named: an ensemble asked for some of them may fail
        answer = client.infer("lumbar_grading", inputs, client_timeout=DEADLINE_SECONDS)
    return {name: answer.as_numpy(name) for name in OUTPUTS}


def main() -> None:
    """Print a line for each disc."""
    study, url = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8001"
    discs = infer(url, to_tensors(study))
    for level, confidence, severity, grade in zip(*(discs[name] for name in OUTPUTS), strict=True):
        print(
            f"{level.decode()} ({confidence:.2f}): {SEVERITIES[severity.argmax()]}, Pfirrmann {GRADES[grade.argmax()]}"
        )


if __name__ == "__main__":
    main()
