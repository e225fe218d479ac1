"""Checkpoint → ONNX in the model repository."""
