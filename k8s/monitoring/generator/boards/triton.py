"""The ensemble and its members."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.panels import HERE, Query, dashboard, lines, rate

__all__ = ["triton"]

_NETWORKS = 'model=~"disc_segmentation|disc_grading"'
_MEMBERS = 'model!~"lumbar_grading.*"'


def triton() -> Dashboard:
    """Make the dashboard."""

    def mean(what: str) -> str:
        return (
            f"{rate(f'nv_inference_{what}_duration_us', by='model')}"
            f" / {rate('nv_inference_request_success', by='model')} / 1e6"
        )

    return dashboard(
        "Triton",
        "discgrade-triton",
        "The ensemble and its members, from tritonserver's own metrics.",
        {
            "Requests": [
                lines(
                    "Requests by model",
                    "A study is one request of each.",
                    "reqps",
                    Query(rate("nv_inference_request_success", by="model, version"), "{{model}} {{version}}"),
                ),
                lines(
                    "Failures",
                    "disc_crop fails where there is no lumbar spine, and the ensemble with it.",
                    "reqps",
                    Query(rate("nv_inference_request_failure", by="model"), "{{model}}"),
                ),
                lines(
                    "Rows computed",
                    "Slices and discs a second.",
                    "short",
                    Query(rate("nv_inference_count", _NETWORKS, "model"), "{{model}}"),
                ),
                lines(
                    "Mean batch",
                    "Rows a run of the network.",
                    "short",
                    Query(
                        f"{rate('nv_inference_count', _NETWORKS, 'model')}"
                        f" / {rate('nv_inference_exec_count', _NETWORKS, 'model')}",
                        "{{model}}",
                    ),
                ),
            ],
            "Time": [
                lines(
                    "Wait in queues, mean",
                    "The signal for autoscaling; the ensemble itself has no queue.",
                    "s",
                    Query(
                        f"{rate('nv_inference_queue_duration_us', _MEMBERS, 'model')}"
                        f" / {rate('nv_inference_request_success', _MEMBERS, 'model')} / 1e6",
                        "{{model}}",
                    ),
                ),
                lines("Compute, mean", "", "s", Query(mean("compute_infer"), "{{model}}")),
                lines(
                    "Tensors in and out, mean",
                    "",
                    "s",
                    Query(mean("compute_input"), "{{model}} in"),
                    Query(mean("compute_output"), "{{model}} out"),
                ),
                lines("Whole request, mean", "", "s", Query(mean("request"), "{{model}}")),
            ],
            "Server": [
                lines(
                    "Waiting now",
                    "",
                    "short",
                    Query(f"sum by (model) (nv_inference_pending_request_count{{{HERE}}})", "{{model}}"),
                ),
                lines(
                    "Ready",
                    "As each gateway and worker sees it.",
                    "short",
                    Query(f"discgrade_triton_ready{{{HERE}}}", "{{job}} {{instance}}"),
                ),
                lines(
                    "Restarts",
                    "Of the embedded server.",
                    "short",
                    Query(f"discgrade_triton_restarts{{{HERE}}}", "{{job}} {{instance}}"),
                ),
                lines(
                    "Models in use",
                    "Seconds since each version last took part in a grading.",
                    "s",
                    Query(
                        "time() - max by (model, version, engine) "
                        f"(discgrade_model_last_used_timestamp_seconds{{{HERE}}})",
                        "{{model}} {{version}} ({{engine}})",
                    ),
                ),
            ],
        },
    )
