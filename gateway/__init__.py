"""The server: one dataplane behind FastAPI, a Triton client, an embedded tritonserver, and the results on disk."""
