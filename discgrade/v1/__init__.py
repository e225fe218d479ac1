"""Version 1 of the gRPC interface; ``grading_pb2`` and ``grading_pb2_grpc`` are generated from ``grading.proto``."""
