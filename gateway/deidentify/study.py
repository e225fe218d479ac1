"""De-identifies the files of an upload, whatever they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.deidentify.dataset import deidentify
from gateway.deidentify.dicom_file import rewrite_dicom
from gateway.deidentify.keyed import Keyed
from gateway.deidentify.mapping import Mapping
from gateway.deidentify.nifti_file import rewrite_nifti
from gateway.deidentify.profile import Profile
from preprocess.limits import Limits
from preprocess.study import Kind, check_one_patient, open_upload

__all__ = ["Deidentifier"]

_NOTHING = b"removed\n"
"""In place of a file that is no image: what it was, is not known, and the reader still counts it."""


@dataclass(frozen=True)
class Deidentifier:
    """De-identifies uploads; threads may share it.

    Attributes:
        profile: What becomes of each attribute.
        keyed: Makes pseudonyms.
        mapping: Keeps what they stand for; None keeps nothing.
        limits: Bounds of the readers.
    """

    profile: Profile
    keyed: Keyed
    mapping: Mapping | None
    limits: Limits

    def study(self, files: Sequence[Path], into: Path, workdir: Path) -> list[Path]:
        """Write the de-identified successors of an upload's files.

        Args:
            files: DICOM files, or one zip of them, or one NIfTI file.
            into: An empty folder; of a zip, its files are put here.
            workdir: An empty folder for what has to be unpacked; the caller removes it.

        Returns:
            The successors, in the same order.

        Raises:
            InputError: What the readers refuse, for what cannot be read cannot be de-identified; and
                :class:`discgrade.errors.IdentityInPixels`.
        """
        found, kinds = open_upload(files, workdir, self.limits)
        learnt: list[tuple[str, str, str]] = []
        work = partial(deidentify, profile=self.profile, keyed=self.keyed, learn=lambda *known: learnt.append(known))
        patients, successors = [], []
        for index, (path, kind) in enumerate(zip(found, kinds, strict=True)):
            target = into / f"{index + 1:05d}"
            label = f"file {index + 1} of {len(found)}"
            if kind is Kind.DICOM:
                patients.append(rewrite_dicom(path, target, workdir / f"flat-{index:05d}", label, self.limits, work))
            elif kind is Kind.NIFTI:
                rewrite_nifti(path, target, self.limits)
            else:
                target.write_bytes(b"" if kind is Kind.EMPTY else _NOTHING)
            successors.append(target)
        if patients:
            check_one_patient(patients)
        if self.mapping is not None:
            self.mapping.record(learnt)
        return successors
