"""Generates the gRPC code as part of the build (docs/decisions/0015); all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROTO = Path("discgrade/v1/grading.proto")
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")


class BuildPy(build_py):
    """Writes the modules made of ``grading.proto``: into the wheel, or the tree where the install is editable."""

    def run(self) -> None:
        """Build as usual, then generate over whatever an earlier editable install left in the tree."""
        import grpc_tools
        from google.rpc import status_pb2
        from grpc_tools import protoc

        super().run()
        target = Path() if self.editable_mode else Path(self.build_lib)
        includes = [Path(), Path(grpc_tools.__file__).parent / "_proto", Path(status_pb2.__file__).parents[2]]
        outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", *(f"-I{path}" for path in includes), *outputs, str(PROTO)]) != 0:
            raise SystemExit(f"protoc could not read {PROTO}")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Name the generated files too."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            outputs += [f"{Path(self.build_lib, PROTO.with_suffix(''))}{end}" for end in GENERATED]
        return outputs


setup(cmdclass={"build_py": BuildPy})
