"""Every row of the table in docs/own_data.md: what is wrong with own files ends in the sentence that it promises."""

import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import zipfile
from functools import cache
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from pipeline.checks.general import check
from pipeline.config.data import HubConfig, PathConfig
from pipeline.data import load_view, prepare_dataset, source_identity
from pipeline.data.prepare import _refuse_outputs
from pipeline.engine.cells import CONF, compose_run
from pipeline.errors import UserError
from tests.pipeline.data.own_files import flowers, picture, verdicts, write_photos

PAGE = (CONF.parent / "docs" / "own_data.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## What is refused")[2]
PROMISED = dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", SECTION, re.M))
NAMED = {"text": "sentence", "label": "verdict"}
CASES = {}


def photos_case(wrong, **settings):
    """Register a function that spoils ``photos/`` as a row of the table says."""
    return lambda make: CASES.update({wrong: ("images", make, settings)}) or make


def table_case(wrong, **settings):
    """Register a function that gives the content of a table as a row says."""
    return lambda make: CASES.update({wrong: ("table", make, settings)}) or make


def beside(name, image=None, **options):
    """Write one more image into the training rows of the first class."""

    def make(photos):
        place = photos / "train" / name
        place.parent.mkdir(exist_ok=True)
        (image or picture(0)).save(place, **options)

    return make


def clear(photo):
    """An image with a pixel that is not opaque."""
    image = picture(0).convert("RGBA")
    image.putpixel((1, 1), (0, 0, 0, 100))
    return image


photos_case("an image beside the folders of the classes")(beside("stray.png"))
photos_case("images of two sizes")(beside("cat/x.png", picture(0, side=6)))
photos_case("transparent pixels")(beside("cat/x.png", clear(0)))
photos_case("16 bits of gray")(beside("cat/x.png", Image.fromarray(np.full((8, 8), 700, np.uint16))))
photos_case("CMYK")(beside("cat/x.jpg", picture(0).convert("CMYK")))
photos_case("names of classes that are not those of the folders", class_names=["a", "b", "c"])(lambda photos: None)
photos_case("a folder of splits where one of classes is needed", train="")(lambda photos: None)
photos_case("images in no folder of a class", train="train/cat")(lambda photos: None)
photos_case("a file that is not there", train="trian")(lambda photos: None)
photos_case("an image file where a folder is needed", train="train/cat/000.png")(lambda photos: None)
photos_case("a network of 10 outputs for 3 classes", model={"outputs": 10})(lambda photos: None)


@photos_case("the folder of a class without images")
def _(photos):
    (photos / "train" / "yak").mkdir()


@photos_case("a broken image")
def _(photos):
    place = photos / "train" / "cat" / "000.png"
    place.write_bytes(place.read_bytes()[:60])


@photos_case("a file that is no image among images")
def _(photos):
    (photos / "train" / "cat" / "notes.txt").write_text("three cats")


@photos_case("a class that only the test rows have")
def _(photos):
    (photos / "test" / "cat").rename(photos / "test" / "yak")


@photos_case("a damaged color profile")
def _(photos):
    picture(0).save(photos / "train" / "cat" / "x.png", icc_profile=b"no profile")


@photos_case("a class that only the validation rows have", val="val")
def _(photos):
    shutil.copytree(photos / "test", photos / "val")
    (photos / "val" / "cat").rename(photos / "val" / "yak")


@photos_case("validation rows that are all test rows", val="test")
def _(photos):
    (photos / "more").mkdir()


@photos_case("several frames in one image file")
def _(photos):
    picture(0).save(photos / "train" / "cat" / "x.gif", save_all=True, append_images=[picture(1)])


@photos_case("16 bits of color")
def _(photos):
    (photos / "train" / "cat" / "x.ppm").write_bytes(b"P6 1 1 1023\n" + bytes(6))


@photos_case("a hub data set that needs a script", hub="scripted")
def _(photos):
    (photos / "scripted").mkdir()
    (photos / "scripted" / "scripted.py").write_text("raise SystemExit\n")


photos_case("a hub that cannot be reached", hub="made/up")(lambda photos: None)
photos_case("a file of another content than its checksum", train="train.npz", test=None, sha256={"train": "0" * 64})(
    lambda photos: np.savez(photos / "train.npz", image=np.zeros((4, 8, 8), np.uint8), label=np.arange(4) % 2)
)


@photos_case("one class alone", test=None)
def _(photos):
    for name in ("dog", "emu"):
        for place in (photos / "train" / name).iterdir():
            place.unlink()
        (photos / "train" / name).rmdir()


@photos_case("a table for `data=images`", train="train.csv")
def _(photos):
    (photos / "train.csv").write_text(verdicts())


table_case("a table whose columns have other names", columns={})(verdicts)
table_case("a column that is not there", columns={"text": "sentence", "label": "verdikt"})(verdicts)
table_case("one column for two things", columns={"text": "sentence", "label": "sentence"})(verdicts)
table_case("numbers without a label", columns={"x": "all"})(flowers)
table_case("a word among numbers", columns={"x": ["height", "species"], "label": "width"})(flowers)
table_case("a number with a comma", columns={"x": "all", "label": "b"})(lambda: 'a,b\n1,x\n"2,5",y\n')
table_case("a missing number", columns={"x": "all", "label": "b"})(lambda: "a,b\n1,x\n,y\n")
table_case("labels of -1 in the test rows", test=None)(
    lambda: "sentence,verdict\n" + "".join(f"row {row},{row % 3 - 1}\n" for row in range(30))
)
table_case("two columns of one name")(lambda: "sentence,verdict,verdict\na,1,1\n")
table_case("a missing label", columns={"x": "all", "label": "b"})(lambda: "a,b\n1,x\n2,\n")
table_case("labels 1, 2, 3")(lambda: "sentence,verdict\n" + "".join(f"row {row},{row % 3 + 1}\n" for row in range(9)))
table_case("a label of its own in nearly every row")(
    lambda: "sentence,verdict\n" + "".join(f"row {row},user{row}\n" for row in range(30))
)
table_case("a line that is no JSON")(lambda: '{"sentence": "a", "verdict": 1}\n{"sentence": }\n')
table_case("a JSON array")(lambda: json.dumps([{"sentence": "a", "verdict": 1}]))
table_case("text in another encoding than UTF-8")(lambda: verdicts().replace("bad", "böse").encode("latin-1"))
table_case("a pickle")(lambda: pickle.dumps({"sentence": ["a"]}))
table_case("a compressed table", name="rows.csv.gz")(lambda: b"\x1f\x8b\x08\0" + bytes(20))
table_case("targets that are no classes without test rows", columns={"x": "height", "y": "width"}, test=None)(flowers)
table_case("a model of texts for vectors", columns={"x": "all", "label": "species"}, model="gpt2_tiny", stage="train")(
    flowers
)


@table_case("a spreadsheet", name="rows.csv")
def _():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    return stream.getvalue()


@cache
def composed(choice, model, stage):
    return compose_run((f"data={choice}", f"model={model}", f"stage={stage}", f"data.path.train={choice}"))


def attempt(folder, wrong):
    """Check and prepare, as the command does, with the files and settings of a case."""
    choice, make, settings = CASES[wrong]
    settings = dict(settings)
    model, stage = settings.pop("model", "mlp"), settings.pop("stage", "prepare")
    files = {split: settings.pop(split, split if split != "val" else None) for split in ("train", "test", "val")}
    if choice == "images":
        photos = write_photos(folder / "photos")
        make(photos)
        paths = {split: None if value is None else str(photos / value) for split, value in files.items()}
    else:
        content = make()
        place = folder / settings.pop("name", "rows.data")
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths = {"train": str(place)}
        settings = {"kind": "table", "columns": NAMED, **settings}
    config = composed(choice, model if isinstance(model, str) else "mlp", stage)
    if not isinstance(model, str):
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, **model))
    if (hub := settings.pop("hub", None)) is not None:
        local = folder / "photos" / hub
        settings |= {"source": "hub", "hub": HubConfig(id=str(local) if local.exists() else hub)}
        paths = {}
    path = dataclasses.replace(config.data.path, **paths, sha256=settings.pop("sha256", {}))
    if "source" in settings:
        path = PathConfig()
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, path=path, **settings))
    check(config)
    (folder / "out").mkdir()
    metrics = prepare_dataset(config.data, folder / "out", folder)
    _refuse_outputs(config, folder / "out", metrics["labels"])
    load_view(folder / "out", config.data)


def test_the_table_and_the_cases_are_the_same():
    assert PROMISED.keys() == CASES.keys()


@pytest.mark.parametrize("wrong", sorted(CASES))
def test_what_is_wrong_is_told_as_promised(tmp_path, wrong, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "own data"
    folder.mkdir()
    with pytest.raises(UserError) as refused:
        attempt(folder, wrong)
    assert PROMISED[wrong] in str(refused.value) and "\n" not in str(refused.value).strip()


@pytest.mark.parametrize(
    ("content", "columns", "told"),
    [
        ('{"s": "a", "v": 0}\n{"s": "b", "v": 1, "group": "g"}\n', {}, "line 2: the name group is not in line 1"),
        ('{"s": "a", "v": 0, "v": 1}\n', {}, "line 1: no JSON .a name is there twice"),
        ("s,v\na,yes\nb,nan\n", {}, "line 3: no label .'nan'.; fill it in"),
        ("a,c,v\n1,2,no\n1,inf,no\n", {"x": "all", "label": "v"}, "'data.columns={x: a, label: v}' leaves the col"),
        (None, {"x": "all", "label": "v"}, "column 'c', row 1: nan is no finite number.*={x: a, label: v}' leaves"),
    ],
    ids=["late name", "name twice", "nan among words", "infinite cell", "NaN of parquet"],
)
def test_a_row_that_does_not_fit_is_named_with_what_helps(tmp_path, content, columns, told):
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = tmp_path / "rows.data"
    if content is None:
        pq.write_table(pa.table({"a": [1.0, 2.0], "c": [1.0, float("nan")], "v": ["no", "yes"]}), place)
    else:
        place.write_text(content)
    config = composed("table", "mlp", "prepare").data
    path = dataclasses.replace(config.path, train=str(place))
    config = dataclasses.replace(config, path=path, kind="table", columns=columns or {"text": "s", "label": "v"})
    with pytest.raises(UserError, match=told):
        prepare_dataset(config, tmp_path, tmp_path)


def test_a_class_whose_name_is_in_another_encoding_is_refused(tmp_path):
    photos = write_photos(tmp_path / "photos", test=0)
    (photos / "train" / "cat").rename(Path(os.fsdecode(os.fsencode(photos / "train") + b"/caf\xe9")))
    config = composed("images", "mlp", "prepare").data
    config = dataclasses.replace(config, path=dataclasses.replace(config.path, train=str(photos / "train")))
    assert source_identity(config)["files"]
    with pytest.raises(UserError, match=r"the name 'caf\\udce9' of a class is not UTF-8; rename"):
        prepare_dataset(config, tmp_path, tmp_path)


def test_files_that_number_their_classes_differently_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, names in (("train", ["cat", "dog"]), ("test", ["dog", "cat"])):
        kept = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
        rows = pa.table({"text": [f"{split} {row}" for row in range(8)], "label": [0, 1] * 4})
        pq.write_table(rows.replace_schema_metadata(kept), tmp_path / f"{split}.parquet")
    config = composed("table", "mlp", "prepare").data
    files = {split: str(tmp_path / f"{split}.parquet") for split in ("train", "test")}
    config = dataclasses.replace(config, path=dataclasses.replace(config.path, **files))
    with pytest.raises(UserError, match="test.parquet calls its classes dog, cat, and the split before it cat, dog"):
        prepare_dataset(config, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("images of two sizes", ["cat/x.png", "cat/000.png"]),
        ("a broken image", ["cat/000.png"]),
        ("CMYK", ["cat/x.jpg"]),
    ],
)
def test_images_are_named_by_their_paths(tmp_path, wrong, named):
    with pytest.raises(UserError) as refused:
        attempt(tmp_path, wrong)
    assert all(f"photos/train/{name}" in str(refused.value) for name in named)


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("images of two sizes", {"resize": [8, 8]}),
        ("transparent pixels", {"background": 255}),
        ("16 bits of gray", {"white": 65535}),
        ("CMYK", {"to_rgb": True}),
    ],
)
def test_the_remedy_of_the_sentence_works(tmp_path, wrong, remedy):
    config = composed("images", "mlp", "prepare").data
    photos = write_photos(tmp_path / "photos", train=1, test=0)
    for name in ("cat", "dog", "emu"):
        if wrong == "16 bits of gray":
            (photos / "train" / name / "000.png").unlink()
    CASES[wrong][1](photos)
    if wrong == "16 bits of gray":
        for name in ("dog", "emu"):
            Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(photos / "train" / name / "x.png")
    config = dataclasses.replace(
        config,
        path=dataclasses.replace(config.path, train=str(photos / "train")),
        read=dataclasses.replace(config.read, **remedy),
    )
    (tmp_path / "out").mkdir()
    assert prepare_dataset(config, tmp_path / "out", tmp_path)["rows"]["train"] in (3, 4)
