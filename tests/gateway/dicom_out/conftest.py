from __future__ import annotations

import pytest

from tests.support.dicom_results import SOURCES, DicomResult, grade_source


@pytest.fixture(scope="session", params=SOURCES)
def graded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DicomResult:
    """A phantom of each kind of source, with its segmentation and its report."""
    return grade_source(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def classic(tmp_path_factory: pytest.TempPathFactory) -> DicomResult:
    return grade_source("classic", tmp_path_factory.mktemp("classic"))
