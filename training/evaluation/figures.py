"""Compute every figure from what the networks answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from preprocess.levels import LEVEL_NAMES
from training.data import FINDINGS
from training.data.splits import LUMBAR_DISCS
from training.evaluation.bootstrap import Bootstrap, Figure
from training.evaluation.calibration import fit_temperatures
from training.evaluation.classification import (
    auc,
    confusion,
    expected_calibration_error,
    pairwise_auc,
    rates,
    shared_by_patient,
)
from training.evaluation.rows import SeriesRow
from training.evaluation.summary import (
    FOUND_DICE,
    SEVERITIES,
    Figures,
    Finding,
    Grading,
    LevelDice,
    Naming,
    Outlined,
    Repeat,
    Segmentation,
)
from training.evaluation.table import GROUPINGS, ROW_GROUPINGS, Discs, discs_of

__all__ = ["evaluate"]


def evaluate(rows: Sequence[SeriesRow], validation: Sequence[SeriesRow] = ()) -> Figures:
    """Compute every figure.

    Args:
        rows: Of the patients to judge by.
        validation: Of other patients, to fit temperatures to; see :func:`training.evaluation.table.discs_of`.
    """
    discs = discs_of(rows, validation)
    graded = [row for row in rows if row.graded]
    grading = {}
    if len(discs):
        grading["all"] = _grading(discs, calibrated=True)
        for grouping in GROUPINGS:
            for name, part in discs.by(grouping):
                grading[f"{grouping}: {name}"] = _grading(part, calibrated=True)
    return Figures(
        patients=len({row.patient for row in rows}),
        segmentation=dict(_segmentations(rows)),
        levels=dict(_levels(rows)),
        outlined=dict(_outlined(rows)),
        naming=dict(_namings(rows)),
        grading=grading,
        uncalibrated=_grading(discs, calibrated=False) if len(discs) else None,
        repeat=_repeat(discs),
        shared=_shared(discs) if len(discs) else None,
        findings={name: _finding(discs, name) for name in FINDINGS if _learned(discs, name)},
        temperatures=fit_temperatures(discs.heads, discs.truth) if len(discs) else {},
        unpaired=sorted({row.name for row in graded if not row.discs}),
        graded_series=len(graded),
    )


def _segmentations(rows: Sequence[SeriesRow]) -> Iterable[tuple[str, Segmentation]]:
    masked = [row for row in rows if row.overlap is not None]
    if masked:
        yield "all", _segmentation(masked)
    for grouping, group_of in ROW_GROUPINGS.items():
        for name in sorted({group_of(row) for row in masked} - {""}):
            yield f"{grouping}: {name}", _segmentation([row for row in masked if group_of(row) == name])


def _levels(rows: Sequence[SeriesRow]) -> Iterable[tuple[str, LevelDice]]:
    whole = [(row.patient, disc) for row in rows for disc in row.reference if not disc.cut]
    for number in sorted({disc.number for _, disc in whole}):
        own = [(patient, disc.dice) for patient, disc in whole if disc.number == number]
        dice = Bootstrap([patient for patient, _ in own]).mean(np.array([value for _, value in own]))
        yield LEVEL_NAMES[number - 1], LevelDice(discs=len(own), dice=dice)


def _outlined(rows: Sequence[SeriesRow]) -> Iterable[tuple[str, Outlined]]:
    for sequence in sorted({row.sequence for row in rows if row.outlined}):
        discs = [(row.patient, disc) for row in rows if row.sequence == sequence for disc in row.outlined]
        sample = Bootstrap([patient for patient, _ in discs])
        masked = discs[0][1].mask_dice is not None
        yield (
            sequence,
            Outlined(
                patients=sample.count,
                discs=len(discs),
                dice=sample.mean(np.array([disc.dice for _, disc in discs])),
                area_ratio=sample.mean(np.array([disc.area_ratio for _, disc in discs])),
                mask_dice=sample.mean(np.array([disc.mask_dice for _, disc in discs])) if masked else None,
                predicted_mask_dice=sample.mean(np.array([disc.predicted_mask_dice for _, disc in discs]))
                if masked
                else None,
            ),
        )


def _segmentation(rows: Sequence[SeriesRow]) -> Segmentation:
    sample = Bootstrap([row.patient for row in rows])
    overlaps = [row.overlap for row in rows if row.overlap is not None]

    def mean(values: Iterable[float | None]) -> Figure:
        return sample.mean(np.array([np.nan if value is None else value for value in values], np.float64))

    counts = sample.sums(np.array([[one.common, one.predicted + one.reference] for one in overlaps], np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = sample.figure(2 * counts[:, 0] / counts[:, 1])
    own: dict[str, list[float]] = {}
    for row, one in zip(rows, overlaps, strict=True):
        own.setdefault(row.patient, []).append(one.dice)
    gaps = [
        [
            disc.predicted_height_mm - disc.height_mm
            for disc in row.reference
            if disc.height_mm and disc.predicted_height_mm
        ]
        for row in rows
    ]
    return Segmentation(
        patients=sample.count,
        dice=mean(one.dice for one in overlaps),
        iou=mean(one.iou for one in overlaps),
        hd95_mm=mean(one.hd95_mm for one in overlaps),
        assd_mm=mean(one.assd_mm for one in overlaps),
        pooled_dice=pooled,
        height_bias_mm=mean(float(np.mean(gap)) if gap else None for gap in gaps),
        by_patient={patient: round(float(np.mean(values)), 4) for patient, values in sorted(own.items())},
    )


def _namings(rows: Sequence[SeriesRow]) -> Iterable[tuple[str, Naming]]:
    for sequence in sorted({row.sequence for row in rows}):
        same = [row for row in rows if row.sequence == sequence]
        if masked := [row for row in same if row.reference]:
            yield f"{sequence} by masks", _naming(masked, by_masks=True)
        if graded := [row for row in same if row.graded and row.overlap is None]:
            yield f"{sequence} by gradings", _naming(graded, by_masks=False)


def _naming(rows: Sequence[SeriesRow], *, by_masks: bool) -> Naming:
    patients: list[str] = []
    marks: list[tuple[float, float, float, float]] = []  # found, named, lumbar, lumbar and named
    counts, extra = [], []
    for row in rows:
        if by_masks:
            whole = [disc for disc in row.reference if not disc.cut]
            hits = [(disc.number, disc.dice >= FOUND_DICE, disc.level) for disc in whole]
        else:
            hits = [
                (position, level in row.levels, level)
                for position, level in ((number, LEVEL_NAMES[number - 1]) for number in row.graded)
            ]
        for number, found, level in hits:
            named = found and level == LEVEL_NAMES[number - 1]
            lumbar = number <= LUMBAR_DISCS
            patients.append(row.patient)
            marks.append((float(found), float(named), float(lumbar), float(lumbar and named)))
        counts.append(float(len(row.levels) == len(hits)))
        extra.append(float(row.extra))
    sample, series = Bootstrap(patients), Bootstrap([row.patient for row in rows])
    sums = sample.sums(np.array(marks).reshape(-1, 4))
    total = sample.sums(np.ones(len(marks)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Naming(
            patients=series.count,
            series=len(rows),
            discs=len(marks),
            found=sample.figure(sums[:, 0] / total) if by_masks else None,
            named=sample.figure(sums[:, 1] / total),
            lumbar_named=sample.figure(sums[:, 3] / sums[:, 2]),
            right_count=series.mean(np.array(counts)),
            extra=series.mean(np.array(extra)) if by_masks else None,
        )


def _grading(discs: Discs, *, calibrated: bool) -> Grading:
    sample = Bootstrap(discs.patients)
    answers = discs.warm if calibrated else discs.cold
    severity, pfirrmann = discs.truth["severity"], discs.truth["pfirrmann"]
    tables = {
        name: confusion(sample, discs.truth[name], answers[name].argmax(1), answers[name].shape[1])
        for name in ("severity", "pfirrmann")
    }
    of_severity, of_pfirrmann = rates(sample, tables["severity"]), rates(sample, tables["pfirrmann"])
    del of_severity["within_one"], of_severity["quadratic_kappa"]
    return Grading(
        patients=sample.count,
        discs=len(discs),
        severity=of_severity,
        severity_auc=pairwise_auc(sample, answers["severity"], severity, SEVERITIES),
        pfirrmann=of_pfirrmann,
        severity_ece=expected_calibration_error(sample, answers["severity"], severity),
        pfirrmann_ece=expected_calibration_error(sample, answers["pfirrmann"], pfirrmann),
    )


def _repeat(discs: Discs) -> Repeat | None:
    answers: dict[tuple[str, int], dict[str, tuple[int, int]]] = {}
    for index, (row, disc) in enumerate(zip(discs.rows, discs.discs, strict=True)):
        answered = int(discs.warm["severity"][index].argmax())
        place = answers.setdefault((row.patient, disc.position), {})
        place.setdefault(row.sequence, (answered, int(discs.truth["severity"][index])))
    pairs = [(patient, list(of.values())) for (patient, _), of in sorted(answers.items()) if len(of) == 2]
    if not pairs:
        return None
    sample = Bootstrap([patient for patient, _ in pairs])
    given = np.array([[one[0], other[0], one[1]] for _, (one, other) in pairs])
    wrong = (given[:, :2] != given[:, 2:]).sum(1)
    alike = np.where(given[:, 0] == given[:, 1], wrong, 0)
    sums = sample.sums(np.stack([np.ones(len(pairs)), given[:, 0] == given[:, 1], wrong, alike], 1).astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return Repeat(
            patients=sample.count,
            discs=len(pairs),
            same=sample.figure(sums[:, 1] / sums[:, 0]),
            wrong=sample.figure(sums[:, 2] / sums[:, 0] / 2),
            wrong_alike=sample.figure(sums[:, 3] / sums[:, 2]),
        )


def _shared(discs: Discs) -> Figure:
    answered = discs.warm["pfirrmann"]
    expected = answered @ np.arange(answered.shape[1])
    return shared_by_patient(Bootstrap(discs.patients), discs.truth["pfirrmann"].astype(np.float64) - expected)


def _learned(discs: Discs, name: str) -> bool:
    """Whether a finding was both learned and seen, present and absent."""
    if name not in discs.heads:
        return False
    answered = ~np.isnan(discs.heads[name][:, 0])
    return len(set(discs.truth[name][answered & (discs.truth[name] >= 0)].tolist())) == 2


def _finding(discs: Discs, name: str) -> Finding:
    known = discs.where((discs.truth[name] >= 0) & ~np.isnan(discs.heads[name][:, 0]))
    sample, truth, answer = Bootstrap(known.patients), known.truth[name], known.warm[name]
    table = confusion(sample, truth, answer.argmax(1), 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = sample.figure(table[:, 1, 1] / table[:, 1].sum(1))
        specificity = sample.figure(table[:, 0, 0] / table[:, 0].sum(1))
    return Finding(
        discs=len(known),
        present=int(truth.sum()),
        auc=auc(sample, answer[:, 1], truth == 1),
        sensitivity=sensitivity,
        specificity=specificity,
        ece=expected_calibration_error(sample, answer, truth),
    )
