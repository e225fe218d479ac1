"""The tables of codes in docs/dicom.md, and the codes."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.dicom_out import codes

DOCS = (Path(__file__).parents[3] / "docs" / "dicom.md").read_text()


def test_every_disc_is_there_with_its_code() -> None:
    rows = dict(re.findall(r"(?<=\| )([TL]\d+/[TLS]\d+) \| (\d+)(?= \|)", DOCS))
    assert rows == {level: code.value for level, code in codes.DISC_OF_LEVEL.items()}


def test_every_code_of_the_private_scheme_is_there_with_its_meaning() -> None:
    own = [codes.DISC, codes.PFIRRMANN, *codes.PFIRRMANN_GRADES.values(), codes.HEIGHT_METHOD, codes.AREA_METHOD]
    rows = dict(re.findall(r"^\| `([A-Z0-9-]+)` \| (.*) \|$", DOCS, re.MULTILINE))
    assert rows.keys() == {code.value for code in own}
    for code in own:
        assert code.scheme_designator == codes.SCHEME
        assert code.CodeValue == code.value  # short enough (16) for what every reader knows
        assert rows[code.value].startswith(code.meaning)
    assert f"Coding Scheme Designator `{codes.SCHEME}`, version `{codes.SCHEME_VERSION}`" in DOCS
    assert codes.SCHEME_UID in DOCS


def test_the_l5_s1_disc_is_the_one_of_the_context_group() -> None:
    assert codes.disc_code("L5/S1").value == "715056000"  # 75782005 is in none
    assert codes.disc_code("unknown") == codes.DISC
    assert codes.site_code("unknown") == codes.LUMBAR_SPINE
