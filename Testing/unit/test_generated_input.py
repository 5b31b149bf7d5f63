"""Two thousand generated inputs: each is graded, refused or complained of in one sentence; none brings a traceback.

The examples are the same on every run, so that a failure here is a failure everywhere.
"""

from __future__ import annotations

import gzip
import json
import struct
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cadx import cli, output
from cadx.classify import Classifier
from cadx.geometry import Geometry
from cadx.volume import Volume

from support import pattern_volume, write

SIZE = (14, 12, 11)
QUICK = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small pair, its ROI, and the bytes of its T1 in each format."""
    folder = tmp_path_factory.mktemp("generated")
    geometry = Geometry.from_axes(SIZE, (5.0, 5.0, 5.0), np.eye(3), (-30, -28, -25))
    for name in ("t1.nii", "t1.nrrd", "t1.mha", "t2.nii"):
        volume = pattern_volume(geometry, name)
        write(folder / name, Volume(volume.voxels.astype(np.int16), geometry, name))
    return folder


@pytest.fixture(scope="module")
def graded(place, bundle):
    """Run ``cadx classify`` on what is given; the classifier is loaded once and no picture is drawn."""
    classifier = Classifier(bundle, "cpu")

    def run(**given: object) -> None:
        named = {"t1": place / "t1.nii", "t2": place / "t2.nii", "roi": "0,0,0,60,50,52", **given}
        arguments = [f"--{name}={value}" for name, value in named.items()]
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("error")
            patch.setattr(cli, "_classifier", lambda *a: classifier)
            patch.setattr(output, "write_reading", lambda *a: [])
            patch.setattr(output, "write_refusal", lambda *a: None)
            code = cli.main(["classify", *arguments, f"--out={place / 'out'}"])
        assert code in (0, 2, 5), named

    return run


def test_the_unchanged_pair_is_graded(graded, capsys):
    graded()
    assert "Grade: " in capsys.readouterr().out


numbers = st.one_of(
    st.floats(-80, 80),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**30), 10**30),
    st.sampled_from(["", "x", "1e999", "-0", "0x10", "１", "1_000", "nan"]),
)


@settings(max_examples=500, **QUICK)
@given(parts=st.lists(numbers, min_size=6, max_size=6))
def test_six_numbers_of_any_kind(graded, parts):
    graded(roi=",".join(str(part) for part in parts))


@settings(max_examples=100, **QUICK)
@given(text=st.text(max_size=60))
def test_a_roi_of_any_text(graded, text):
    graded(roi=text)


@settings(max_examples=100, **QUICK)
@given(text=st.text(max_size=60))
def test_a_path_of_any_text(graded, text):
    graded(t1=text)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
triple = st.lists(st.floats(-90, 90), min_size=3, max_size=3)
roi_fields = st.fixed_dictionaries(
    {"type": st.just("ROI")},
    optional={
        "coordinateSystem": st.sampled_from(["LPS", "RAS", "0", 1, None, "XYZ"]) | json_values,
        "center": triple | json_values,
        "size": triple | json_values,
        "orientation": st.just([1, 0, 0, 0, 1, 0, 0, 0, 1])
        | st.lists(st.floats(-2, 2), min_size=9, max_size=9)
        | json_values,
        "roiType": st.just("Box") | json_values,
    },
)


@settings(max_examples=300, **QUICK)
@given(document=json_values | st.fixed_dictionaries({"markups": st.lists(roi_fields | json_values, max_size=3)}))
def test_markups_of_any_shape(graded, place, document):
    path = place / "any.mrk.json"
    path.write_text(json.dumps(document))
    graded(roi=path)


fields = {
    "dim": (40, "8h", st.lists(st.integers(-(2**15), 2**15 - 1) | st.integers(0, 14), min_size=8, max_size=8)),
    "datatype": (
        70,
        "2h",
        st.tuples(
            st.sampled_from([2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 0, -1, 2304]),
            st.sampled_from([8, 16, 32, 64, 0, -8]),
        ),
    ),
    "pixdim": (76, "8f", st.lists(st.floats(width=32) | st.floats(-9, 9, width=32), min_size=8, max_size=8)),
    "vox_offset": (108, "f", st.tuples(st.floats(width=32) | st.sampled_from([0.0, 352.0, 1e9, -1e9, 400.0]))),
    "slope": (112, "2f", st.tuples(st.floats(width=32), st.floats(width=32))),
    "units": (123, "B", st.tuples(st.integers(0, 255))),
    "codes": (252, "2h", st.tuples(st.integers(-1, 5), st.integers(-1, 5))),
    "quaternion": (256, "6f", st.lists(st.floats(width=32) | st.floats(-1, 1, width=32), min_size=6, max_size=6)),
    "sform": (280, "12f", st.lists(st.floats(width=32) | st.floats(-9, 9, width=32), min_size=12, max_size=12)),
    "magic": (344, "4s", st.tuples(st.sampled_from([b"n+1\0", b"ni1\0", b"n+2\0", b"\0\0\0\0", b"abcd"]))),
    "extension": (348, "4B", st.tuples(*[st.integers(0, 255)] * 4)),
}


@settings(max_examples=500, **QUICK)
@given(data=st.data())
def test_nifti_headers_with_any_fields(graded, place, data):
    content = bytearray((place / "t1.nii").read_bytes())
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=3, unique=True)):
        offset, form, values = fields[name]
        struct.pack_into(data.draw(st.sampled_from("<<<>")) + form, content, offset, *data.draw(values))
    packed = data.draw(st.booleans())
    path = place / ("any.nii.gz" if packed else "any.nii")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    graded(t1=path)


@settings(max_examples=200, **QUICK)
@given(
    name=st.sampled_from(["t1.nii", "t1.nrrd", "t1.mha"]),
    places=st.lists(st.tuples(st.integers(0, 420), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, 4000),
)
def test_bytes_changed_anywhere(graded, place, name, places, cut):
    content = bytearray((place / name).read_bytes())
    for offset, new in places:
        content[offset : offset + len(new)] = new
    path = place / f"any.{name.rpartition('.')[2]}"
    path.write_bytes(content[:cut])
    graded(t1=path)


words = st.sampled_from(
    [
        "",
        "1",
        "14 12 11",
        "-4 2 2",
        "0 0 0",
        "1e9 9 9",
        "999999999999 2 2",
        "nan nan nan",
        "none none none",
        "left",
        "raw",
    ]
    + [
        "(1,0,0) (0,1,0) (0,0,1)",
        "(1,0,0) (1,0,0) (0,0,1)",
        "(0,0,0) (0,1,0) (0,0,1)",
        "short",
        "float",
        "block",
        "gzip",
    ]
    + ["hex", "4", "2", "3", "True", "False", "1 0 0 0 1 0 0 0 1", "0 0 0 0 0 0 0 0 0", "LOCAL", "any.mha", "MET_SHORT"]
    + [
        "MET_DOUBLE",
        "left-posterior-superior",
        "scanner-xyz",
        "domain domain domain",
        "vector domain domain",
        "../x",
        "/dev/zero",
    ]
)


@settings(max_examples=300, **QUICK)
@given(
    name=st.sampled_from(["t1.nrrd", "t1.mha"]),
    changes=st.lists(st.tuples(st.integers(0, 20), words), min_size=1, max_size=3),
)
def test_text_headers_with_any_values(graded, place, name, changes):
    mark, end = (b": ", b"\n\n") if name.endswith("nrrd") else (b" = ", b"LOCAL\n")
    content = (place / name).read_bytes()
    start = content.index(end) + len(end)
    lines = content[:start].split(b"\n")
    for number, value in changes:
        key, found, _ = lines[number % len(lines)].partition(mark)
        if found:
            lines[number % len(lines)] = key + mark + value.encode()
    path = place / f"any.{name.rpartition('.')[2]}"
    path.write_bytes(b"\n".join(lines) + content[start:])
    graded(t1=path)
