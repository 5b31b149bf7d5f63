"""Prepared cases on disk: made once, for every sample that can be read, and the same as in use."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest

from cadx.batch import Row, read_case
from cadx.errors import InputError
from cadx.geometry import Geometry
from cadx.io.files import read_volume
from cadx.prepare.intensity import finish, learn_landmarks
from cadx.prepare.pipeline import Preparation
from cadx.prepare.spec import CropSpec, GridSpec, ScaleSpec
from cadx.study import cells, filehashes
from cadx.study.cells import case_of, lesion_cells, prepare_all, thumbnails
from cadx.study.cohort import Sample
from cadx.volume import Volume

from support import PLAIN, make_bundle, pattern_volume, write

SMALL = PLAIN.model_copy(update={"grid": GridSpec(cell_pixels=16)})
CHANNELS = ("T1", "T2")


@pytest.fixture(scope="module")
def samples(tmp_path_factory, case):
    """Four cases that differ in T2."""
    folder = tmp_path_factory.mktemp("cohort")
    t2 = case.images["T2"].canonical()
    write(folder / "t1.nii.gz", pattern_volume(case.reference.geometry, "t1"))
    (folder / "roi.mrk.json").write_text(json.dumps(case.roi.to_markups()))
    made = []
    for number in range(4):
        voxels = t2.voxels + 300 * np.sin(t2.voxels / (20 + 10 * number))
        write(folder / f"t2-{number}.nii.gz", t2.with_voxels(voxels.astype(np.float32)))
        images = {"T1": str(folder / "t1.nii.gz"), "T2": str(folder / f"t2-{number}.nii.gz")}
        made.append(Sample(f"case-{number}", images, "normal", f"p{number}", roi=str(folder / "roi.mrk.json")))
    return made


def changed(sample: Sample, **fields) -> Sample:
    return Sample(**{**{name: getattr(sample, name) for name in sample.__dataclass_fields__}, **fields})


def as_used(sample: Sample, spec) -> np.ndarray:
    row = Row(sample.name, sample.images["T1"], sample.images["T2"], sample.roi)
    return Preparation(spec).run(read_case(row, lambda text: None, 10.0)).cells


def test_cells_kept_on_disk_are_finished_as_in_use(samples, tmp_path):
    spec = SMALL.model_copy(update={"scale": ScaleSpec(method="volume-zscore-range")})
    for one, found in zip(samples, prepare_all(samples, spec, tmp_path), strict=True):
        np.testing.assert_array_equal(finish(found.raw, CHANNELS, None, spec.scale), as_used(one, spec))


def test_a_bundle_is_fed_what_its_fold_was_trained_on(samples, tmp_path):
    from cadx.classify import Classifier, Options

    prepared = prepare_all(samples, SMALL, tmp_path / "cache")
    standardise = learn_landmarks((p.raw for p in prepared[:3]), CHANNELS)
    trained = finish(prepared[3].raw, CHANNELS, standardise, SMALL.scale)
    bundle = make_bundle(tmp_path / "bundle", preparation=SMALL.model_copy(update={"standardise": standardise}))
    assert bundle.preparation.standardise == standardise
    classifier = Classifier(bundle, "cpu")
    reading = classifier.classify(case_of(samples[3], CHANNELS), Options(explain=False))
    np.testing.assert_array_equal(reading.prepared.cells, trained)


def test_a_case_is_prepared_once(samples, tmp_path, monkeypatch):
    first = prepare_all(samples, SMALL, tmp_path)
    monkeypatch.setattr(cells.Preparation, "raw", lambda *_, **__: pytest.fail("prepared again"))
    # what is finished later does not make a new case of it
    later = SMALL.model_copy(
        update={
            "scale": ScaleSpec(method="roi-range"),
            "standardise": learn_landmarks((p.raw for p in first), CHANNELS),
        }
    )
    for spec in (SMALL, later):
        assert prepare_all(samples, spec, tmp_path) == first


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing"])
def test_a_damaged_file_is_prepared_again(samples, tmp_path, damage):
    (first,) = prepare_all(samples[:1], SMALL, tmp_path)
    first.file.write_bytes(damage)
    with pytest.raises(InputError, match="gone or damaged"):
        _ = first.raw
    assert prepare_all(samples[:1], SMALL, tmp_path) == [first]
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == [first.file.name]


def test_files_are_hashed_once_and_again_when_they_changed(samples, tmp_path, monkeypatch):
    copies = [changed(one, images={**one.images, "T2": str(tmp_path / f"{one.name}.nii.gz")}) for one in samples[:2]]
    for one, copy in zip(samples, copies, strict=False):
        shutil.copy(one.images["T2"], copy.images["T2"])
    monkeypatch.setattr(filehashes, "YOUNG_S", -1)
    first = prepare_all(copies, SMALL, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(filehashes.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
        assert prepare_all(copies, SMALL, tmp_path / "cache") == first
    shutil.copy(copies[1].images["T2"], copies[0].images["T2"])
    again = prepare_all(copies, SMALL, tmp_path / "cache")
    assert again[0] == again[1] == first[1]


def test_what_was_just_written_is_hashed_again(tmp_path):
    """Within one tick of the file system's clock a file can change and keep size and times."""
    (tmp_path / "a").write_text("one")
    hashes = filehashes.FileHashes(tmp_path)
    assert hashes.of(tmp_path / "a") == hashlib.sha256(b"one").hexdigest()
    hashes.keep()
    assert not (tmp_path / filehashes.INDEX).exists()


def test_what_is_kept_starts_no_process(samples, tmp_path, monkeypatch):
    first = prepare_all(samples, SMALL, tmp_path)
    monkeypatch.setattr(cells, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("a process was started"))
    assert prepare_all(samples, SMALL, tmp_path, workers=2) == first
    first[2].file.unlink()
    assert prepare_all(samples, SMALL, tmp_path, workers=2) == first


def test_what_changes_the_cells_is_prepared_anew(samples, tmp_path):
    (first,) = prepare_all(samples[:1], SMALL, tmp_path)
    other = changed(samples[0], roi="0,0,0,60,50,60")
    coarse = SMALL.model_copy(update={"grid": GridSpec(cell_pixels=24)})
    found = [
        prepare_all([one], spec, tmp_path, pad=True)[0]
        for one, spec in ((other, SMALL), (samples[1], SMALL), (samples[0], coarse))
    ]
    assert len({first.file, *(f.file for f in found)}) == 4
    assert len({first.sha256, *(f.sha256 for f in found)}) == 4


def test_the_same_images_under_another_name_have_the_same_hash(samples, tmp_path):
    one, two = prepare_all([samples[0], changed(samples[0], name="copy", group="x")], SMALL, tmp_path)
    assert one.sha256 == two.sha256


def test_processes_give_what_one_process_gives(samples, tmp_path):
    seen = []
    several = prepare_all(
        samples, SMALL, tmp_path / "a", workers=2, progress=lambda done, total: seen.append((done, total))
    )
    assert [p.sha256 for p in several] == [p.sha256 for p in prepare_all(samples, SMALL, tmp_path / "b")]
    assert seen == [(n, 4) for n in range(1, 5)]


def test_all_unreadable_cases_are_known_at_once(samples, tmp_path):
    bad = [
        samples[0],
        changed(samples[1], roi="900,0,0,50,50,60"),
        changed(samples[2], images={**samples[2].images, "T2": str(tmp_path / "absent.nii.gz")}),
        changed(samples[3], images={"T1": samples[3].images["T1"]}),
    ]
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"^case-1: The ROI lies outside.*\(2 more cases cannot .* either\)\.$"):
            prepare_all(bad, SMALL, tmp_path / f"cache-{workers}", workers=workers)
    with pytest.raises(InputError, match=r"^case-3: There is no T2 image"):
        prepare_all(bad[3:], SMALL, tmp_path)


def test_a_case_that_cannot_be_scaled_is_known_before_training(samples, case, tmp_path):
    t2 = case.images["T2"].canonical()
    voxels = np.full(t2.voxels.shape, 7, np.float32)
    voxels[0, 0, 0] = 9
    flat = str(write(tmp_path / "flat.nii.gz", t2.with_voxels(voxels)))
    one = changed(samples[0], images={**samples[0].images, "T2": flat})
    for _ in range(2):
        with pytest.raises(InputError, match="case-0: T2 is constant inside the ROI"):
            prepare_all([one], SMALL, tmp_path / "cache")


def test_too_few_slices_are_refused_unless_padded(samples, case, tmp_path):
    few = changed(samples[0], roi=",".join(str(v) for v in (*case.roi.center_ras, 60, 50, 25)))
    with pytest.raises(InputError, match="case-0: The ROI holds . slices of T1 and the grid needs 9"):
        prepare_all([few], SMALL, tmp_path)
    (padded,) = prepare_all([few], SMALL, tmp_path, pad=True)
    assert padded.raw.values.shape[1] < 9
    assert thumbnails(padded, SMALL).shape == (2, 32, 32)


@pytest.mark.parametrize("channel", CHANNELS)
def test_one_channel_is_read_on_its_own_slices(samples, case, tmp_path, channel):
    spec = SMALL.model_copy(update={"channels": (channel,)})
    alone = changed(samples[0], images={channel: samples[0].images[channel]})
    found = prepare_all([samples[0], alone], spec, tmp_path)
    assert found[0] == found[1]
    assert found[0].raw.values.shape[0] == 1
    assert found[0].raw.landmarks.shape == (1, 11)
    read = case_of(alone, (channel,))
    assert list(read.images) == [channel]
    assert found[0].raw.values.shape[1] == Preparation(spec).run(read).slices


def test_a_mask_lies_on_the_image_that_it_was_drawn_on(case, samples, tmp_path):
    """The mask's own header is wrong; the image that it was drawn on says where it lies, whichever is graded."""
    t1 = read_volume(samples[0].images["T1"])
    mask = np.zeros(t1.voxels.shape, np.uint8)
    mask[3:12, 15:40, 15:45] = 1
    moved = Geometry(t1.geometry.size_ijk, t1.geometry.ijk_to_ras + np.pad([[300.0]], ((0, 3), (3, 0))))
    file = str(write(tmp_path / "mask.nii.gz", Volume(mask, moved)))
    spec = SMALL.model_copy(update={"channels": ("T2",)})
    drawn = changed(samples[0], roi=file, mask_on="T1")
    centres = [case_of(drawn, channels).roi.center_ras for channels in (("T1",), ("T2",), CHANNELS)]
    assert np.ptp(centres, axis=0).max() < 3
    assert prepare_all([drawn], spec, tmp_path)
    with pytest.raises(InputError, match="outside T2"):
        prepare_all([changed(drawn, mask_on="")], spec, tmp_path)


def test_a_cube_has_thumbnails_too(samples, tmp_path):
    spec = PLAIN.model_copy(update={"crop": CropSpec(pixels=24, sampling="area"), "channels": ("T1",)})
    (found,) = prepare_all(samples[:1], spec, tmp_path)
    assert thumbnails(found, spec).shape == (1, 32, 32)


def test_without_a_roi_the_whole_volume_is_the_box(samples, tmp_path):
    whole = changed(samples[0], roi="")
    read = case_of(whole, ("T1",))
    np.testing.assert_allclose(read.roi.size_mm, read.reference.geometry.extent_mm)
    spec = SMALL.model_copy(update={"channels": ("T1",)})
    (found,) = prepare_all([whole], spec, tmp_path)
    assert found.raw.values.shape[1] == 15


def test_thumbnails_show_the_grid_made_small(samples, tmp_path):
    prepared = prepare_all(samples, SMALL, tmp_path)
    small = [thumbnails(p, SMALL) for p in prepared]
    assert all(s.shape == (2, 32, 32) and s.dtype == np.uint8 for s in small)
    np.testing.assert_array_equal(small[0][0], small[1][0])
    assert not np.array_equal(small[0][1], small[1][1])
    spec = SMALL.model_copy(update={"grid": GridSpec(cell_pixels=64)})
    (fine,) = prepare_all(samples[:1], spec, tmp_path)
    whole = Preparation(spec).run(case_of(samples[0], CHANNELS))
    pixels = whole.grid(whole.window()).reshape(2, 32, 6, 32, 6).mean(axis=(2, 4))
    assert np.abs(thumbnails(fine, spec) - 255 * pixels).max() <= 0.51


def test_lesion_cells_lie_where_the_mask_lies(case, samples, tmp_path):
    mask = np.zeros(case.reference.geometry.size_ijk[::-1], np.uint8)
    mask[7, 22:30, 26:34] = 1
    write(tmp_path / "lesion.nii.gz", case.reference.with_voxels(mask))
    found = lesion_cells(changed(samples[0], lesion=str(tmp_path / "lesion.nii.gz")), PLAIN)
    assert found.shape == (9, 64, 64)
    assert [k for k in range(9) if found[k].any()] == [4]
    rows, columns = np.nonzero(found[4])
    assert abs(rows.mean() - 31.5) < 1.5
    assert abs(columns.mean() - 31.5) < 1.5
    with pytest.raises(InputError, match="case-0: There is no file"):
        lesion_cells(changed(samples[0], lesion=str(tmp_path / "absent.nii.gz")), PLAIN)


def test_a_cache_that_cannot_be_made_is_one_sentence(samples, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        prepare_all(samples, SMALL, tmp_path / "file" / "cache")
