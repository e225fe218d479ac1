"""The tritonserver that the nvidia-pytriton wheel carries: where it is, and what it needs around it.

The wheel is used for its binary and its Python backend alone, with the stock model repository format.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from discgrade.errors import InferenceUnavailable
from gateway.allocator import ALLOCATOR_ENVIRONMENT

__all__ = ["TritonInstall"]

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_LIBPYTHON = f"libpython{_PYTHON}.so.1.0"
_ROOMS = ("discgrade", "preprocess", "engines")
_KEPT_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "DISCGRADE_CPU_PRECISION")


@dataclass(frozen=True)
class TritonInstall:
    """Files of an installed nvidia-pytriton that fit the running interpreter.

    Attributes:
        server: The tritonserver program.
        backend: Folder of the Python backend.
        stub: The program that runs one Python model; there is one for each version of Python.
        libraries: Folder of the wheel's shared libraries.
        libpython: The interpreter's own shared library, which the stub must load.
    """

    server: Path
    backend: Path
    stub: Path
    libraries: Path
    libpython: Path

    @classmethod
    def find(cls) -> TritonInstall:
        """Find the wheel's files.

        Raises:
            InferenceUnavailable: The wheel, its stub or libpython is missing, or NumPy is one it cannot work with.
        """
        spec = importlib.util.find_spec("pytriton")
        if spec is None or spec.origin is None:
            raise _unusable("the package nvidia-pytriton is not installed", "pip install 'discgrade[serve]'.")
        import numpy as np

        if int(np.__version__.split(".")[0]) > 1:
            # With NumPy 2 this server answers with the right shapes and no data, without an error.
            raise _unusable(f"NumPy {np.__version__} is installed", "Install numpy<2 (1.26.4).")
        package = Path(spec.origin).parent
        tree = package / "tritonserver"
        found = cls(
            server=tree / "bin" / "tritonserver",
            backend=tree / "backends" / "python",
            stub=tree / "python_backend_stubs" / _PYTHON / "triton_python_backend_stub",
            libraries=package.parent / "nvidia_pytriton.libs",
            libpython=_libpython(),
        )
        for path in (found.server, found.backend, found.stub, found.libraries):
            if not path.exists():
                raise _unusable(
                    f"nvidia-pytriton has no {path.name} for Python {_PYTHON} on this platform",
                    "Use Python 3.11 or 3.12 on Linux x86-64 or ARM64 with glibc 2.35 or newer.",
                )
        return found

    def assemble(self, folder: Path) -> dict[str, str]:
        """Make what the server needs around it: ``folder/backends``, for ``--backend-directory``, and more.

        Each stub embeds an interpreter in isolated mode (PYTHONHOME and PYTHONPATH are ignored), which takes the
        virtual environment of the first ``python3`` on PATH for its own. It gets one of links, with the import path
        of this process: models import what the caller imports, from a checkout as from an installation.

        Args:
            folder: Empty.

        Returns:
            The whole environment of the server. Of the caller's own it holds only what is harmless: of the settings
            the engines' own, no secrets; and nothing of it reaches other programs.
        """
        backend = folder / "backends" / "python"
        backend.mkdir(parents=True)
        for path in (*self.backend.iterdir(), self.stub):
            if path.is_file():
                (backend / path.name).symlink_to(path)
        # A folder of its own: the one libpython lies in may hold other libraries that must not shadow the system's.
        (folder / "libpython").mkdir()
        (folder / "libpython" / self.libpython.name).symlink_to(self.libpython)
        venv.EnvBuilder(symlinks=True).create(folder / "venv")
        (folder / "venv" / "lib" / f"python{_PYTHON}" / "site-packages" / "caller.pth").write_text(_import_path())
        return {
            **{name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            "PATH": f"{folder / 'venv' / 'bin'}:{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": f"{folder / 'libpython'}:{self.libraries}",
            "CUDA_VISIBLE_DEVICES": "",  # the embedded server computes on the CPU
            "OMP_NUM_THREADS": "1",  # the engines have their own pools; NumPy and SciPy need none
            "OPENBLAS_NUM_THREADS": "1",
            **ALLOCATOR_ENVIRONMENT,
        }


def _import_path() -> str:
    """A .pth file (see the site module) that repeats this process's import path."""
    specs = [importlib.util.find_spec(room) for room in _ROOMS]
    rooms = [str(Path(place).parent) for spec in specs if spec for place in spec.submodule_search_locations or ()]
    places = dict.fromkeys([*rooms, *(os.path.abspath(entry) for entry in sys.path if entry)])
    # The model repository may be read-only, and a checkout stays clean.
    return "\n".join(["import sys; sys.dont_write_bytecode = True", *places, ""])


def _libpython() -> Path:
    variables = sysconfig.get_config_vars("LIBDIR", "MULTIARCH")
    libdir, multiarch = (str(value or "") for value in variables)
    for folder in (Path(libdir), Path(libdir) / multiarch, Path(sys.base_prefix) / "lib"):
        if (folder / _LIBPYTHON).exists():
            return folder / _LIBPYTHON
    raise _unusable(
        f"this Python has no shared library {_LIBPYTHON}",
        f"Install it (Debian and Ubuntu: apt install libpython{_PYTHON}) or use a Python built with --enable-shared.",
    )


def _unusable(reason: str, advice: str) -> InferenceUnavailable:
    return InferenceUnavailable(f"The embedded tritonserver cannot be used: {reason}.", advice)
