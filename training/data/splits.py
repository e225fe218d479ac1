"""Who is trained on and who is held out: always whole patients, always the same for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from discgrade.errors import InvalidRequest
from training.data.dataset import DataSet

__all__ = ["LUMBAR_DISCS", "REFERENCE_DISCS", "Split", "folds", "reference_split", "split_patients"]

LUMBAR_DISCS = 5
REFERENCE_DISCS = (300, 72, 94)
"""Discs for training, validation and test in the reference study."""


def split_patients(data: DataSet, *, seed: int = 2026, share: float = 0.2) -> tuple[set[str], set[str]]:
    """Hold patients out for validation, the same share of those with masks and of those without.

    Returns:
        (training, validation) patients, disjoint; the same for both networks.
    """
    with_masks = {series.patient for series in data.masked}
    validation: set[str] = set()
    for group in (sorted(with_masks), sorted(set(data.patients) - with_masks)):
        shuffled = random.Random(seed).sample(group, len(group))
        validation.update(shuffled[: round(share * len(group))])
    return set(data.patients) - validation, validation


def folds(data: DataSet, count: int = 5, *, seed: int = 2026) -> list[set[str]]:
    """Split the patients into groups of nearly the same size, as many with masks in each.

    The first fold is the validation set of :func:`split_patients`, so that its figures and those of a network
    validated on that split are of the same patients.

    Raises:
        InvalidRequest: Fewer than two folds, or more than patients with masks.
    """
    masked = sorted({series.patient for series in data.masked})
    if not 2 <= count <= len(masked):
        raise InvalidRequest(f"{len(masked)} patients with masks cannot make {count} folds.", "Give --folds 2 or more.")
    _, first = split_patients(data, seed=seed, share=1 / count)
    groups = [set(first), *(set[str]() for _ in range(count - 1))]
    for patients in (masked, sorted(set(data.patients) - set(masked))):
        rest = [patient for patient in patients if patient not in first]
        random.Random(seed).shuffle(rest)
        for start in range(count - 1):
            groups[start + 1].update(rest[start :: count - 1])
    return groups


@dataclass(frozen=True)
class Split:
    """Discs by use; a patient's discs are all of one use.

    Attributes:
        training: Disc numbers by patient, as in the other two.
        validation: Temperature and stopping are chosen on these.
        test: Judged once.
    """

    training: dict[str, frozenset[int]]
    validation: dict[str, frozenset[int]]
    test: dict[str, frozenset[int]]


def reference_split(data: DataSet, seed: int) -> Split:
    """Draw 300, 72 and 94 graded lumbar discs, by patient, as many patients with masks in each as fit.

    Patients are drawn until the discs suffice; of the last one as many discs are taken as are missing.

    Raises:
        InvalidRequest: The data set has too few graded discs.
    """
    masked = {series.patient for series in data.masked}
    discs = {
        patient: [n for n in sorted(graded) if n <= LUMBAR_DISCS and graded[n].pfirrmann is not None]
        for patient, graded in data.gradings.items()
        if patient in set(data.patients)
    }
    rng = random.Random(seed)
    queues = {kind: sorted(p for p in discs if (p in masked) is kind and discs[p]) for kind in (True, False)}
    for queue in queues.values():
        rng.shuffle(queue)
    total = sum(REFERENCE_DISCS)
    parts: list[dict[str, frozenset[int]]] = []
    masked_count = len(queues[True])
    for wanted in REFERENCE_DISCS:
        own = [queues[True].pop() for _ in range(min(round(masked_count * wanted / total), len(queues[True])))]
        taken: dict[str, frozenset[int]] = {}
        left = wanted
        while left > 0:
            queue = own or queues[False] or queues[True]
            if not queue:
                raise InvalidRequest("The data set has too few graded discs for the protocol.", "It needs 466.")
            patient = queue.pop()
            chosen = discs[patient][:left]
            taken[patient] = frozenset(chosen)
            left -= len(chosen)
        parts.append(taken)
    return Split(*parts)
