# discgrade-triton-gpu: NVIDIA's tritonserver with what our Python models and the engine builder import. Not built so far:
# NVIDIA's image could not be had. TRITON_IMAGE is the name it has at your site, better with its digest.
#   docker build -f k8s/images/triton-gpu.Dockerfile -t discgrade-triton-gpu:0.1.0-25.08 .
ARG TRITON_IMAGE=tritonserver:25.08-py3

FROM ${TRITON_IMAGE} AS wheel
WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY discgrade discgrade
COPY engines engines
COPY export export
COPY gateway gateway
COPY model_repository model_repository
COPY preprocess preprocess
COPY training training
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${TRITON_IMAGE}
COPY --from=wheel /wheels /wheels
# Python's tensorrt must be the version of the image's server; the image names it in TRT_VERSION.
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[gpu]" "tensorrt==${TRT_VERSION%%+*}" \
 && rm -r /wheels
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000 8001 8002
ENTRYPOINT []
CMD ["python3", "-m", "export.startup", "/models", "--", "tritonserver", "--model-control-mode=explicit", "--load-model=lumbar_grading"]
