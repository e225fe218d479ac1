"""Bytes to volume, geometry, intensity, discs, levels and crops: pure functions over numpy arrays."""
