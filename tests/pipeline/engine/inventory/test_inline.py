"""Small files in a manifest give their bytes again, whatever marks of Unicode a setting holds."""

import json

import pytest

from pipeline.engine.inventory.inline import joined, lines_of, settings_of

ODD = "two\u2028paragraphs\x85and\x0cpages"


def test_a_setting_with_other_line_marks_of_unicode_is_one_line(tmp_path):
    text = f"stage: train\nversion: 1\nreport.title: {json.dumps(ODD, ensure_ascii=False)}\nstage_name: 2\n"
    (tmp_path / "config.yaml").write_text(text)
    lines = lines_of(tmp_path / "config.yaml")
    assert joined(lines).decode() == text and len(lines) == 4
    assert settings_of(text) == {"report.title": ODD, "stage_name": 2}


@pytest.mark.parametrize("content", [b"no break at the end", b"\xff\xfe\n", b"a" * (1 << 17) + b"\n"])
def test_what_lines_would_not_give_again_stays_a_file(tmp_path, content):
    (tmp_path / "metrics.json").write_bytes(content)
    assert lines_of(tmp_path / "metrics.json") is None
