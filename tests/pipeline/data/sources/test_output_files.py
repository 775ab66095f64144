"""Files of outputs: what a table's first line and first column are, and what is taken for no class."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from pipeline.data.errors import DataError
from pipeline.data.sources.output_files import read_outputs

LOGITS = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -3.0]])

TABLES = {
    "no line of names": (lambda path: np.savetxt(path, LOGITS, delimiter=","), None),
    "numbered names": (lambda path: pd.DataFrame(LOGITS).to_csv(path, index=False), None),
    "numbered rows": (lambda path: pd.DataFrame(LOGITS).to_csv(path), [0, 1]),
    "semicolons": (lambda path: pd.DataFrame(LOGITS, columns=list("abc")).to_csv(path, sep=";", index=False), None),
    "tabs": (lambda path: pd.DataFrame(LOGITS, [7, 9]).to_csv(path, sep="\t"), [7, 9]),
}


@pytest.mark.parametrize("form", TABLES)
def test_no_row_is_lost_to_the_names_and_no_number_of_a_row_is_a_class(tmp_path, form):
    write, ids = TABLES[form]
    write(tmp_path / "my run.csv")
    found = read_outputs(tmp_path / "my run.csv", 0)
    np.testing.assert_allclose(found.outputs, LOGITS)
    assert (None if found.ids is None else found.ids.tolist()) == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a;b\n0,5;1,5\n", "column 'a' holds no numbers"),
        ("a,b,prediction\n0.5,1,1\n", "column 'prediction' is no class; keep a column per class"),
        ("a,b\n1,0.5,2\n", "cannot be read as csv"),
        ("0\n1\n2\n", "first line, 0, may be a name or a number"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(tmp_path, text, message):
    (tmp_path / "run.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_outputs(tmp_path / "run.csv", 0)


def test_bfloat16_is_read(tmp_path):
    save_file({"logits": torch.from_numpy(LOGITS).bfloat16()}, tmp_path / "run.safetensors")
    np.testing.assert_allclose(read_outputs(tmp_path / "run.safetensors", 0).outputs, LOGITS)
