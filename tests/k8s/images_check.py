"""Builds the images from their Dockerfile and runs them: ``make images-check``, as root on Debian.

No registry is asked for the base image: a Debian of the same release is made with debootstrap in its place. buildah
builds without a daemon and without namespaces of its own (``--isolation chroot``). Then tritonserver and a gateway run
as the manifests have them run (not root, no capability, no new privileges, a read-only root file system, a small
/tmp and /dev/shm, a data folder) but for the kernel's isolation, and a phantom is graded by the two.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from discgrade.client import Client
from training.phantom import PhantomSpec, make_phantom, write_dicom

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "k8s" / "images" / "Dockerfile"
USER = "10001"
TRITON, GATEWAY = 24001, 24000
_START_SECONDS = 180
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_RUN = """
set -e
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
mount -t tmpfs -o size=1g,mode=1777 tmpfs "$1/dev/shm"
mount -t tmpfs -o size=512m,mode=1777 tmpfs "$1/tmp"
mount -t tmpfs -o size=512m,uid=10001,gid=10001 tmpfs "$1/data"
mount -o remount,bind,ro "$1"
root=$1; shift
exec chroot "$root" /usr/bin/setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all \
  --inh-caps=-all "$@"
"""


def main() -> int:
    """Build, run, grade; print what was seen."""
    missing = [name for name in ("debootstrap", "buildah", "unshare") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        print("This needs root, and the Debian packages debootstrap and buildah.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="discgrade-images-") as folder:
        builder = _Buildah(Path(folder))
        try:
            report = _check(builder, Path(folder))
        finally:
            builder.clean()
    print(json.dumps(report, indent=2))
    return 0


class _Buildah:
    """buildah with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._command = ("buildah", f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}")
        self._base = folder / "base"

    def __call__(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._command, *arguments], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ).stdout.strip()

    def base(self) -> str:
        """A minimal Debian 12 as an image."""
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(self._base)], check=True, stdout=sys.stderr)
        container = self("from", "scratch")
        self("add", "--quiet", container, str(self._base), "/")
        self("commit", "--quiet", "--rm", container, "debian-base")
        shutil.rmtree(self._base)
        return "localhost/debian-base"

    def build(self, target: str, base: str) -> str:
        """Build one target; the image's name."""
        settings = self._base.with_name("pip.conf")
        settings.write_text("[global]\ncert = /etc/pip-authorities.crt\n")
        trusted = [  # whom this machine trusts: a hospital's proxy has an authority of its own
            f"--volume={_AUTHORITIES}:/etc/pip-authorities.crt:ro",
            f"--volume={settings}:/etc/pip.conf:ro",
        ]
        self(
            *("build", "--quiet", "--layers", "--isolation=chroot", f"--file={DOCKERFILE}", f"--target={target}"),
            *(f"--build-arg=BASE={base}", f"--tag=discgrade-{target}", *trusted, str(ROOT)),
        )
        return f"localhost/discgrade-{target}"

    def clean(self) -> None:
        """Remove all images and containers."""
        self("rm", "--all")
        self("rmi", "--all", "--force")


def _check(builder: _Buildah, folder: Path) -> dict[str, object]:
    started = time.monotonic()
    base = builder.base()
    report: dict[str, object] = {}
    mounts = {}
    for target in ("gateway", "triton"):
        image = builder.build(target, base)
        config = json.loads(builder("inspect", "--type=image", image))["OCIv1"]["config"]
        assert config["User"] == f"{USER}:{USER}", config
        assert config["Entrypoint"] == ["discgrade"], config
        mounts[target] = Path(builder("mount", builder("from", image)))
        report[f"{target}, MiB on disk"] = _mebibytes(mounts[target])
    report["seconds to build"] = round(time.monotonic() - started)
    assert not list(mounts["gateway"].glob("opt/discgrade/lib/python3*/site-packages/pytriton"))
    study = folder / "study"
    study.mkdir()
    write_dicom(make_phantom(PhantomSpec(slices=9)), study)
    ports = [f"--grpc-port={TRITON}", f"--http-port={TRITON + 1}", f"--metrics-port={TRITON + 2}"]
    serve = ["serve", f"--port={GATEWAY}", f"--triton-url=127.0.0.1:{TRITON}", "--no-worker"]
    with (
        _running(mounts["triton"], ["triton", *ports], folder / "triton.log"),
        _running(mounts["gateway"], serve, folder / "gateway.log") as gateway,
        Client(f"http://127.0.0.1:{GATEWAY}", transport=httpx.HTTPTransport()) as client,
    ):
        deadline = time.monotonic() + _START_SECONDS
        while not _ready(client):
            if time.monotonic() > deadline or gateway.poll() is not None:
                raise SystemExit(_logs(folder))
            time.sleep(0.2)
        result = client.grade(sorted(study.iterdir()))
        status = Path(f"/proc/{gateway.pid}/status").read_text()
        assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in status, status
        assert "CapEff:\t0000000000000000" in status, status
        assert "NoNewPrivs:\t1" in status, status
    report["discs"] = {disc.level: disc.pfirrmann.value for disc in result.discs}
    report["engine"] = sorted({model.engine for model in result.models})
    assert len(result.discs) >= 5, _logs(folder)
    return report


def _ready(client: Client) -> bool:
    try:
        return client.ready()
    except Exception:
        return False


@contextlib.contextmanager
def _running(root: Path, arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an image's entry point in mounts of its own until the block ends; SIGTERM must end it cleanly."""
    environment = ["PATH=/opt/discgrade/bin:/usr/bin:/bin", "HOME=/tmp", "DISCGRADE_DATA_DIR=/data"]
    command = ["env", "-i", *environment, "/opt/discgrade/bin/discgrade", *arguments]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-c", _RUN, "sh", str(root), *command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode in {0, -15, 143}, log.read_text()[-3000:]


def _mebibytes(folder: Path) -> int:
    shown = subprocess.run(["du", "-sxm", str(folder)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(shown.split()[0])


def _logs(folder: Path) -> str:
    return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(folder.glob("*.log")))


if __name__ == "__main__":
    sys.exit(main())
