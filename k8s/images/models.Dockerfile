# discgrade-models: nothing but a model repository, for an image volume. Its tag names the release that is promoted in it.
#   docker build -f k8s/images/models.Dockerfile -t discgrade-models:release-1 model_repository
FROM scratch
COPY . /
