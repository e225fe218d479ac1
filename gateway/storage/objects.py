"""Storage in a bucket of an S3-compatible server, for gateways and workers on several machines.

::

    s3://bucket/prefix/
    ├── uploads/<upload_id>.tar      uploads of jobs, until the job ended
    ├── results/<result_id>.zip      result.json, segmentation.nii.gz, image.nii.gz, …
    └── added/<result_id>/<name>     what was added to it later

Each is one object, so it is there whole or not at all. Credentials, region and address of the server come from the
environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, …) or from the machine's role.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from discgrade.errors import NotFound, StorageUnavailable
from gateway.storage.interface import KeptUpload, is_id
from gateway.storage.spool import Spool

__all__ = ["ObjectStorage"]

_CHUNK_BYTES = 4 * 1024 * 1024
_RETRY_SECONDS = 20


class ObjectStorage:
    """A :class:`~gateway.storage.Storage` in a bucket; spool folders are local.

    Args:
        url: ``s3://bucket/prefix``; the bucket is there already.
        data_dir: Holds the spool; created if missing.
        keep_results: Most results kept; the oldest are removed first.
        keep_seconds: Age in seconds at which a result is removed.
    """

    def __init__(self, url: str, data_dir: Path, keep_results: int, keep_seconds: float) -> None:
        plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")  # the operator's choice, then
        self._store = S3Store.from_url(
            url,
            client_options={"allow_http": plain, "connect_timeout": "5s", "timeout": "120s"},
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )
        self._keep_results = keep_results
        self._keep_seconds = keep_seconds
        self._spool = Spool(data_dir / "spool")

    def close(self) -> None:
        """Remove this process's spool folders."""
        self._spool.close()

    def new_spool(self) -> Path:
        """Make an empty folder for one upload."""
        return self._spool.new()

    def discard(self, folder: Path) -> None:
        """Remove a spool folder and all in it."""
        self._spool.discard(folder)

    def save(self, result_id: str, artefacts: dict[str, bytes]) -> None:
        """Keep a result: one object, written at once."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:  # not compressed: the large ones are already
            for name, content in artefacts.items():
                archive.writestr(name, content)
        path = _result(result_id)
        with _available():
            if not self._is_there(path):  # not every server heeds the mode
                with suppress(AlreadyExistsError):
                    obstore.put(self._store, path, packed.getvalue(), mode="create", use_multipart=False)

    def add(self, result_id: str, name: str, content: bytes) -> bytes:
        """Keep one more file of a result: an object of its own; the first that is kept stays."""
        path = _added(result_id, name)
        with _available():
            if not is_id(result_id) or not self._is_there(_result(result_id)):
                raise NotFound("There is no result with this id.")
            if not self._is_there(path):
                with suppress(AlreadyExistsError):
                    obstore.put(self._store, path, content, mode="create", use_multipart=False)
        return self.load(result_id, name)

    def load(self, result_id: str, name: str) -> bytes:
        """Read one file of a result."""
        if is_id(result_id):
            with suppress(FileNotFoundError), _available():
                packed = obstore.get(self._store, _result(result_id)).bytes()
                with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                    if name in archive.namelist():
                        return archive.read(name)
                return bytes(obstore.get(self._store, _added(result_id, name)).bytes())
        raise NotFound("There is no result with this id.")

    def delete(self, result_id: str) -> None:
        """Remove a result for good."""
        with _available():
            if not is_id(result_id) or not self._is_there(_result(result_id)):
                raise NotFound("There is no result with this id.")
            obstore.delete(self._store, _result(result_id))
            if added := [path for _, path in self._below(f"added/{result_id}")]:
                obstore.delete(self._store, added)

    def put_upload(self, upload_id: str, spool: Path) -> None:
        """Keep the files of a spool folder for a job: one object, written at once."""
        packed = self._spool.path()
        try:
            with tarfile.open(packed, "w") as archive:
                for file in sorted(spool.iterdir()):
                    archive.add(file, file.name)
            with _available():
                obstore.put(self._store, _upload(upload_id), packed)
        finally:
            packed.unlink(missing_ok=True)

    def get_upload(self, upload_id: str, folder: Path) -> list[Path]:
        """Fetch the files of an upload into ``folder``."""
        if not is_id(upload_id):
            raise NotFound("There is no upload with this id.")
        packed = self._spool.path()
        try:
            with _available(), packed.open("wb") as file:
                for chunk in obstore.get(self._store, _upload(upload_id)).stream(min_chunk_size=_CHUNK_BYTES):
                    file.write(chunk)
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
        except FileNotFoundError:
            raise NotFound("There is no upload with this id.") from None
        finally:
            packed.unlink(missing_ok=True)
        return sorted(folder.iterdir())

    def delete_upload(self, upload_id: str) -> None:
        """Remove an upload; nothing happens if it is not there."""
        if is_id(upload_id):
            with _available(), suppress(FileNotFoundError):
                obstore.delete(self._store, _upload(upload_id))

    def uploads(self) -> Iterator[KeptUpload]:
        """Every upload that is kept."""
        now = datetime.now(UTC)
        for modified, path in self._below("uploads"):
            yield KeptUpload(Path(path).stem, (now - modified).total_seconds())

    def sweep(self) -> None:
        """Remove results past their age or number."""
        oldest = datetime.now(UTC) - timedelta(seconds=self._keep_seconds)
        added = self._below("added")  # before the results: what is listed here is of a result that was there
        newest_first = sorted(self._below("results"), reverse=True)
        doomed = [
            path
            for position, (modified, path) in enumerate(newest_first)
            if position >= self._keep_results or modified < oldest
        ]
        kept = {Path(path).stem for _, path in newest_first} - {Path(path).stem for path in doomed}
        doomed += [path for _, path in added if Path(path).parent.name not in kept]
        if doomed:
            with _available():
                obstore.delete(self._store, doomed)

    def _below(self, prefix: str) -> list[tuple[datetime, str]]:
        """Time of change and path of what lies under a prefix."""
        with _available():
            return [
                (item["last_modified"], item["path"]) for page in obstore.list(self._store, prefix) for item in page
            ]

    def _is_there(self, path: str) -> bool:
        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            return False
        return True


def _result(result_id: str) -> str:
    return f"results/{result_id}.zip"


def _added(result_id: str, name: str) -> str:
    return f"added/{result_id}/{name}"


def _upload(upload_id: str) -> str:
    return f"uploads/{upload_id}.tar"


@contextmanager
def _available() -> Iterator[None]:
    """Name the server's failures without its words."""
    try:
        yield
    except BaseError as error:
        raise StorageUnavailable("The store of uploads and results does not answer.") from error
