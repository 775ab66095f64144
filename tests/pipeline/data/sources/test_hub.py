"""A folder of image files is a data set; one that is not there, or lacks a split, is named with the way out."""

import numpy as np
import pytest

from pipeline.data.errors import DataError
from pipeline.data.sources.hub import load_hub
from pipeline.engine.cells import compose_run
from tests.pipeline.data.made_rows import png


def test_a_folder_of_classes_is_read_and_a_missing_split_can_be_left_out(tmp_path):
    for index, name in enumerate(["blue sky", "red fox"]):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for row in range(3):
            image = np.full((8, 8, 3), 40 * index + row, np.uint8)
            (tmp_path / "pictures" / name / f"image {row}.png").write_bytes(png(image))
    words = ("data=images", f"data.hub.id={tmp_path}/pictures")
    with pytest.raises(DataError, match="split 'test': Unknown split.*'~data.hub.splits.test' leaves it out"):
        load_hub(compose_run(words).data.hub, "image", tmp_path / "cache")
    found = load_hub(compose_run((*words, "~data.hub.splits.test")).data.hub, "image", tmp_path / "cache")
    assert found.class_names == ["blue sky", "red fox"]
    assert sorted(found.splits["train"]["label"]) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("name", ["/no/such/folder", "../my data/pictures", "a/b/c"])
def test_a_folder_that_is_not_there_is_no_repository(tmp_path, name):
    config = compose_run(("data=images", f"data.hub.id='{name}'")).data.hub
    with pytest.raises(DataError, match="there is no such folder, and a repository is written NAME or OWNER/NAME"):
        load_hub(config, "image", tmp_path)
