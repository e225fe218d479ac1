"""Whether inputs and answers are as they were."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from k8s.monitoring.generator.panels import HERE, Query, bars, dashboard, last, lines, quantiles, rate

__all__ = ["quality"]

_SEVERE = 'severity="severe"'


def quality() -> Dashboard:
    """Make the dashboard."""

    def mean(metric: str, labels: str = "", by: str = "") -> str:
        return f"{last(f'{metric}_sum', '6h', labels, by)} / {last(f'{metric}_count', '6h', labels, by)}"

    return dashboard(
        "Quality",
        "discgrade-quality",
        "Whether inputs and answers are as they were; not whether grades are right, which no metric can know.",
        {
            "Answers": [
                bars(
                    "Severity, last day",
                    "",
                    "short",
                    Query(last("discgrade_discs_total", "1d", by="severity"), "{{severity}}"),
                    width=8,
                ),
                bars(
                    "Pfirrmann grades, last day",
                    "",
                    "short",
                    Query(last("discgrade_disc_pfirrmann_total", "1d", by="grade"), "{{grade}}"),
                    width=8,
                ),
                bars(
                    "Levels, last day",
                    "",
                    "short",
                    Query(last("discgrade_discs_total", "1d", by="level"), "{{level}}"),
                    width=8,
                ),
                lines(
                    "Severity: share of a day",
                    "",
                    "percentunit",
                    Query(f"discgrade:severity_share:1d{{{HERE}}}", "{{severity}}"),
                    stacked=True,
                ),
                lines(
                    "Severity: a day against its week",
                    "Population stability index; above 0.2 the two are unlike.",
                    "short",
                    Query(f"discgrade:severity_drift:psi1d{{{HERE}}}", "{{namespace}}"),
                ),
                lines(
                    "Severe discs by release",
                    "A canary grades as the release before it does.",
                    "percentunit",
                    Query(
                        f"{last('discgrade_discs_total', '6h', _SEVERE, 'release')}"
                        f" / {last('discgrade_discs_total', '6h', by='release')}",
                        "release {{release}}",
                    ),
                ),
                lines(
                    "Asked of releases",
                    "What a canary fails at, the release in service grades: it counts for both.",
                    "ops",
                    Query(
                        rate("discgrade_release_requests_total", by="track, release, outcome"),
                        "{{track}}, release {{release}}: {{outcome}}",
                    ),
                    stacked=True,
                ),
                lines(
                    "Studies by release",
                    "",
                    "ops",
                    Query(rate("discgrade_studies_total", by="release, format"), "release {{release}} {{format}}"),
                    stacked=True,
                ),
            ],
            "How sure": [
                lines(
                    "Probability of the given grade, mean",
                    "",
                    "percentunit",
                    Query(
                        mean("discgrade_grade_confidence", by="grading, release"), "{{grading}}, release {{release}}"
                    ),
                ),
                lines(
                    "Entropy of grades, mean",
                    "0 sure, 1 all alike.",
                    "percentunit",
                    Query(mean("discgrade_grade_entropy", by="grading"), "{{grading}}"),
                ),
                lines(
                    "Confidence of levels, mean", "", "percentunit", Query(mean("discgrade_level_confidence"), "mean")
                ),
                lines(
                    "Discs without a level",
                    "Of 6 hours.",
                    "percentunit",
                    Query(f"discgrade:unknown_levels:ratio6h{{{HERE}}}", "unknown"),
                ),
                lines(
                    "Sure mask voxels, mean",
                    "Share of the discs' voxels with a probability of 0.9 or more.",
                    "percentunit",
                    Query(mean("discgrade_mask_certainty", by="release"), "release {{release}}"),
                ),
                lines(
                    "Implausible discs",
                    "Share of a day's discs with a measure that discs do not have.",
                    "percentunit",
                    Query(f"discgrade:implausible_discs:ratio1d{{{HERE}}}", "{{measure}}"),
                ),
                lines(
                    "Discs a study, mean",
                    "",
                    "short",
                    Query(mean("discgrade_discs_per_study", by="release"), "release {{release}}"),
                ),
                lines(
                    "Warnings of results",
                    "By code.",
                    "ops",
                    Query(rate("discgrade_result_warnings_total", by="code"), "{{code}}"),
                    stacked=True,
                ),
            ],
            "Inputs": [
                lines(
                    "Unlike training",
                    "Share of a day's studies with a property that no study of training had.",
                    "percentunit",
                    Query(f"discgrade:unlike_training:ratio1d{{{HERE}}}", "{{property}}"),
                ),
                lines(
                    "No discs found",
                    "Share of 6 hours' studies.",
                    "percentunit",
                    Query(f"discgrade:no_discs:ratio6h{{{HERE}}}", "no discs"),
                ),
                lines("Spacing between slices", "", "lengthmm", *quantiles("discgrade_input_slice_spacing_mm")),
                lines("Spacing between pixels", "", "lengthmm", *quantiles("discgrade_input_pixel_spacing_mm")),
                lines(
                    "Brightness",
                    "Mean of the normalised image.",
                    "percentunit",
                    *quantiles("discgrade_input_brightness"),
                ),
                lines("Slices a study", "", "short", *quantiles("discgrade_input_slices")),
            ],
        },
    )
