"""A phantom as the files that people send."""

from __future__ import annotations

import tempfile
from pathlib import Path

from training.phantom import Phantom, write_dicom, write_nifti, write_zip

__all__ = ["PATIENT_WORDS", "STUDY_FORMATS", "write_study"]

PATIENT_WORDS = ("Mustermann", "Erika", "PAT-4711-0815")
"""What must never be seen outside of the upload: the patient's name and id."""

STUDY_FORMATS = ("dicom", "dicom-multiframe", "zip", "nifti")


def write_study(phantom: Phantom, folder: Path, form: str) -> list[Path]:
    """Write a phantom, of a patient with :data:`PATIENT_WORDS`, into an empty folder; returns its files."""
    patient = f"{PATIENT_WORDS[0]}^{PATIENT_WORDS[1]}", PATIENT_WORDS[2]
    name = f"{PATIENT_WORDS[0]}_{PATIENT_WORDS[2]}"
    if form == "nifti":
        write_nifti(phantom, folder / f"{name}.nii.gz")
    elif form == "zip":
        with tempfile.TemporaryDirectory() as loose:
            write_zip(write_dicom(phantom, Path(loose), patient=patient), folder / f"{name}.zip")
    else:
        write_dicom(phantom, folder / name, patient=patient, enhanced=form == "dicom-multiframe")
    return sorted(path for path in folder.rglob("*") if path.is_file())
