"""How the node names itself on the network (PS3.7 D.3.3.2)."""

from __future__ import annotations

import discgrade

__all__ = ["IMPLEMENTATION_UID", "IMPLEMENTATION_VERSION"]

IMPLEMENTATION_UID = "2.25.129069257225777994413690045059502149490"
"""Implementation Class UID; the same for every version."""
IMPLEMENTATION_VERSION = f"DISCGRADE_{discgrade.__version__}"[:16]
