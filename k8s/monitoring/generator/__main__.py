"""``python -m k8s.monitoring.generator`` writes the dashboards and the operator's resource beside it."""

from __future__ import annotations

from pathlib import Path

from k8s.monitoring.generator.files import made

for path, content in made().items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
