"""Through every door and out of none: what a patient's files say is found nowhere after they were graded.

Allowed are two things: ``input.chosen_series`` of a result, which is part of the contract, is a Series Instance UID;
and DICOM objects of a result, and what they are made of, say whose study it is, as they must.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.uid import generate_uid
from pypdf import PdfReader

from discgrade.client import Client
from discgrade.errors import DiscgradeError
from discgrade.grpc_client import GrpcClient
from discgrade.job import JobState
from gateway.door import Scope
from gateway.door.keys import KeyFile
from gateway.made import PUBLIC_FILES
from tests.functional.test_serve import Serving
from training.phantom import PhantomSpec, make_phantom, write_dicom

pytestmark = pytest.mark.functional

WORDS = {
    "PatientName": "Tellername^Erika",
    "PatientID": "PAT-4711-0815",
    "PatientBirthDate": "19610203",
    "PatientAddress": "Kanarienweg 7",
    "AccessionNumber": "ACC998877",
    "StudyDescription": "Schmerzquelle LWS",
    "SeriesDescription": "t2_tse_sag Geheimserie",
    "ReferringPhysicianName": "Doktorvater^Karl",
    "InstitutionName": "Klinik Hohentwiel",
    "StationName": "MRT-KELLER-3",
}
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")
FILE_WORD = "Dateitellerwort"
RESULT_FILE = r"results/[0-9a-f]{32}/result\.json"
DICOM_FILE = r"results/[0-9a-f]{32}/(source\.json|segmentation\.dcm|report\.sr\.dcm|overlay\.dcm|report\.pdf\.dcm)"
ALLOWED = {
    RESULT_FILE: {"SeriesInstanceUID"},
    DICOM_FILE: WORDS.keys() - {"PatientAddress", "SeriesDescription", "InstitutionName", "StationName"} | set(UIDS),
}
"""Where something of the patient may be, and what; docs/security.md has the same table."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A phantom's files under telling names, full of telling values."""
    folder = tmp_path_factory.mktemp("study")
    files = write_dicom(make_phantom(PhantomSpec(slices=3, matrix=(256, 256))), folder)
    told: list[Path] = []
    for index, path in enumerate(files):
        dataset = pydicom.dcmread(path)
        for keyword, value in WORDS.items():
            setattr(dataset, keyword, value)
        told.append(folder / f"{FILE_WORD}_{WORDS['PatientID']}_{index}.dcm")
        dataset.save_as(told[-1])
        path.unlink()
    return told


@pytest.fixture(scope="module")
def telltales(study: list[Path]) -> dict[str, str]:
    """What must not be found, and what it is."""
    words = {part: keyword for keyword, value in WORDS.items() for part in re.split(r"\^", value)}
    words[FILE_WORD] = "file name"
    for path in study:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        words |= {str(dataset[keyword].value): keyword for keyword in UIDS}
    assert len(words) > len(WORDS) + 5
    return words


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of the server and of its tritonserver."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("DISCGRADE_CPU_WORKERS", "2")
    return folder


def refusals(study: list[Path], folder: Path) -> Iterator[list[Path]]:
    """Uploads of the patient's that cannot be graded, each refused at another place."""
    folder.mkdir()

    def changed(name: str, **values: object) -> list[Path]:
        out = []
        for index, path in enumerate(study):
            dataset = pydicom.dcmread(path)
            for keyword, value in values.items():
                setattr(dataset, keyword, value)
            out.append(folder / f"{FILE_WORD}_{name}_{index}.dcm")
            dataset.save_as(out[-1])
        return out

    yield changed("ct", Modality="CT")
    yield changed("axial", ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    yield changed("blank", PixelData=bytes(256 * 256 * 2))
    yield [changed("other", PatientName="Anders^Anna")[0], *study[1:]]
    yield [study[0], *changed("frame", FrameOfReferenceUID=generate_uid())[1:]]
    truncated = folder / f"{FILE_WORD}.dcm"
    truncated.write_bytes(study[0].read_bytes()[:-2000])
    yield [truncated]
    letter = folder / f"{FILE_WORD}.txt"
    letter.write_text("\n".join(WORDS.values()))
    yield [letter]


def test_nothing_of_the_patient_is_left_anywhere(
    study: list[Path], telltales: dict[str, str], tmp_path: Path, scratch: Path
) -> None:
    data = tmp_path / "data"
    key = KeyFile(data / "keys.json").create("archive", frozenset(Scope))
    serving = Serving(data, "--door", "on", "--grpc-port", "0")
    try:
        texts = visit_every_door(serving, key, study, tmp_path)
    finally:
        status = serving.end(signal.SIGTERM)
    assert status == 0
    texts["log"] = "".join(serving.log).encode() + serving.output.encode()
    assert b"tritonserver" in texts["log"]  # its log is in ours
    for folder in (data, scratch):
        texts |= dict(contents(folder))
    found = set()
    for place, text in texts.items():
        allowed = {
            keyword for pattern, keywords in ALLOWED.items() if re.fullmatch(pattern, place) for keyword in keywords
        }
        found |= {
            f"{keyword} in {place}"
            for word, keyword in telltales.items()
            if keyword not in allowed and holds(text, word)
        }
    assert found == set()
    (series,) = {word for word, keyword in telltales.items() if keyword == "SeriesInstanceUID"}
    for place, text in texts.items():
        if re.fullmatch(RESULT_FILE, place):
            assert json.loads(text)["input"]["chosen_series"] == series
            assert text.count(series.encode()) == 1
    places = set(texts)
    assert {"audit/log.jsonl", "keys.json", "metrics", "log"} <= places
    assert any(place.startswith("jobs.sqlite") for place in places)
    assert sum(re.fullmatch(RESULT_FILE, place) is not None for place in places) == 4
    assert sum(re.fullmatch(DICOM_FILE, place) is not None for place in places) == 4 + 4
    assert any(re.fullmatch(r"results/[0-9a-f]{32}/report\.pdf unpacked", place) for place in places)


def visit_every_door(serving: Serving, key: str, study: list[Path], folder: Path) -> dict[str, bytes]:
    """Grade the study and try the refusals by each way in; returns what the server told meanwhile."""
    texts: dict[str, bytes] = {}
    with (
        Client(serving.url, api_key=key) as client,
        GrpcClient(grpc_target(serving), api_key=key) as grpc,
        httpx.Client(base_url=serving.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http,
    ):
        result_id = client.grade(study).result_id
        for name in PUBLIC_FILES:
            assert http.get(f"/v1/results/{result_id}/{name}").status_code == 200
        grpc.grade(study)
        (answer,) = grpc.grade_batch([("a", study)])
        assert answer.error is None
        job = client.wait(client.submit(study, idempotency_key="a-key").job_id)
        assert job.state is JobState.SUCCEEDED
        for number, refused in enumerate(refusals(study, folder / "refused")):
            for name, way in (("HTTP", client.grade), ("gRPC", grpc.grade)):
                with pytest.raises(DiscgradeError) as caught:
                    way(refused)
                texts[f"refusal {number} over {name}"] = f"{caught.value.problem()}".encode()
            ended = client.wait(client.submit(refused).job_id)
            assert ended.state is JobState.FAILED
            texts[f"refused job {number}"] = ended.model_dump_json().encode()
        word = WORDS["PatientID"]
        for odd in (
            http.get(f"/v1/results/{word}"),
            http.get(f"/v1/jobs/{word}"),
            http.get("/v1/jobs", params={"state": word, "cursor": word}),
            http.get(f"/{word}", headers={"X-Request-ID": word, "User-Agent": word, "Referer": f"http://x/{word}"}),
            http.post("/v1/grade", headers={"Content-Type": f"multipart/form-data; boundary={word}"}, content=word),
            http.post("/v1/grade", files={word: (word, b"x")}),
            http.get("/v1/models", headers={"Authorization": f"Bearer {word}"}),
        ):
            assert 400 <= odd.status_code < 500
            texts[f"odd request to {odd.url.path[:6]}: {odd.status_code}"] = odd.content + str(odd.headers).encode()
        texts["metrics"] = http.get("/metrics").content
        texts["jobs"] = http.get("/v1/jobs").content
        texts["models"] = http.get("/v1/models").content
    return texts


def grpc_target(serving: Serving) -> str:
    (target,) = [str(entry["target"]) for entry in serving.entries() if entry["event"] == "listening for gRPC"]
    return target


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file below a folder, its name included, unpacked where it is packed."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield f"the name {name}", name.encode()
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield name, content
        if path.suffix == ".pdf":
            (page,) = PdfReader(path).pages
            yield f"{name} unpacked", page.extract_text().encode()
        if path.suffix == ".gz":
            yield f"{name} unpacked", gzip.decompress(content)
        if content.startswith(b"SQLite format 3"):
            yield f"{name} rows", b"\n".join(rows(path))


def rows(database: Path) -> Iterator[bytes]:
    """Every value of a database, decoded where it is base64, as pickled arguments of a job would be."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    yield value if isinstance(value, bytes) else str(value).encode()
                    with suppress(ValueError, binascii.Error):
                        yield base64.b64decode(str(value), validate=True)


def holds(text: bytes, word: str) -> bool:
    """Whether a word is in a text, in whatever case and in the encodings that occur."""
    lower = text.lower()
    return any(word.lower().encode(encoding) in lower for encoding in ("utf-8", "utf-16-le"))


def test_the_search_would_find_it(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.execute("CREATE TABLE jobs (arguments TEXT)")
        connection.execute("INSERT INTO jobs VALUES (?)", [base64.b64encode(b"PATIENT tellername").decode()])
        connection.commit()
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"Tellername"))
    (tmp_path / "Tellername").mkdir()
    (tmp_path / "wide").write_bytes("Tellername".encode("utf-16-le"))
    found = {place for place, text in contents(tmp_path) if holds(text, "Tellername")}
    assert found == {"db rows", "a.gz unpacked", "the name Tellername", "wide"}
