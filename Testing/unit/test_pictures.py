"""Pictures: read as people expect, resized alike in training and in use, kept once decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from cadx.errors import InputError
from cadx.prepare import picture as preparation
from cadx.prepare.picture import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Picture,
    PictureSpec,
    picture_of,
    prepare_picture,
    read_picture,
    resize_picture,
    to_picture,
)
from cadx.study.pictures import load_pictures
from cadx.study.samples import to_network

Image = pytest.importorskip("PIL.Image")
SMALL = PictureSpec(pixels=32)
DECODED: list[str] = []


def grey(rows: int = 48, columns: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth picture whose values span 0..255."""
    y, x = np.mgrid[:rows, :columns]
    values = np.sin(x / 9 + seed) + np.cos(y / 7) + 0.01 * x
    return np.rint(255 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


def coloured(seed: int = 0) -> np.ndarray:
    return np.stack([grey(seed=seed), grey(seed=seed + 1), grey(seed=seed + 2)], axis=-1)


def saved(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def counting_reader(path: str) -> Picture:
    DECODED.append(path)
    return read_picture(path)


def test_lossless_copies_have_one_content(tmp_path):
    pixels = grey()
    files = [saved(tmp_path / f"grey.{end}", pixels) for end in ("png", "bmp", "tif")]
    files.append(saved(tmp_path / "rgb.png", np.repeat(pixels[..., None], 3, axis=2)))
    files.append(tmp_path / "palette.png")
    Image.fromarray(pixels).convert("P").save(files[-1])
    files.append(saved(tmp_path / "deep.png", pixels.astype(np.uint16) * 257))
    files.append(saved(tmp_path / "opaque.png", np.stack([pixels] * 3 + [np.full_like(pixels, 255)], axis=-1)))
    read = [read_picture(file) for file in files]
    assert len({one.sha256 for one in read}) == 1
    assert all(np.array_equal(one.pixels, pixels) for one in read)
    assert read_picture(saved(tmp_path / "other.png", grey(seed=3))).sha256 != read[0].sha256
    assert Picture(pixels.reshape(64, 48), "turned").sha256 != read[0].sha256


def test_a_coloured_picture_stays_coloured(tmp_path):
    assert np.array_equal(read_picture(saved(tmp_path / "a.png", coloured())).pixels, coloured())
    photograph = read_picture(saved(tmp_path / "a.jpg", coloured(), quality=95)).pixels
    assert np.abs(photograph.astype(int) - coloured()).mean() < 4
    ink = tmp_path / "ink.tif"
    Image.fromarray(coloured()).convert("CMYK").save(ink)
    assert np.abs(read_picture(ink).pixels.astype(int) - coloured()).max() < 2


def test_what_is_transparent_becomes_black(tmp_path):
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 32:] = 255
    path = saved(tmp_path / "a.png", np.dstack([coloured(), alpha]))
    pixels = read_picture(path).pixels
    assert pixels[:, :32].max() == 0
    assert np.array_equal(pixels[:, 32:], coloured()[:, 32:])
    Image.fromarray(grey()).convert("P").save(tmp_path / "palette.png", transparency=int(grey()[0, 0]))
    assert read_picture(tmp_path / "palette.png").pixels[0, 0] == 0


def test_a_photograph_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for end in ("tif", "png", "jpg"):
        pixels = read_picture(saved(tmp_path / f"a.{end}", grey(), exif=exif)).pixels
        assert pixels.shape == (64, 48)
        assert np.abs(pixels.astype(int) - np.rot90(grey(), -1)).max() <= (12 if end == "jpg" else 0)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_values_span_the_whole_range(tmp_path, kind):
    values = (grey().astype(kind) * 4 + 100).astype(kind)
    pixels = read_picture(saved(tmp_path / "a.tif", values)).pixels
    assert np.abs(pixels.astype(int) - grey()).max() <= 1


def test_white_is_zero_in_deep_tiff_files(tmp_path):
    Image.fromarray(grey().astype(np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 1})
    content = (tmp_path / "a.tif").read_bytes()
    old, new = (struct.pack("<HHIHH", 262, 3, 1, meaning, 0) for meaning in (1, 0))
    assert content.count(old) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(old, new))
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, 255 - grey())


def _bomb(path: Path) -> None:
    """A few bytes that declare 3.6 thousand million pixels."""
    content = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"0" * 9)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)


def _truncated(path: Path) -> None:
    saved(path, grey())
    path.write_bytes(path.read_bytes()[:-600])


def _pages(path: Path) -> None:
    Image.fromarray(grey()).save(path, format="TIFF", save_all=True, append_images=[Image.fromarray(grey())])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "is not there"),
        (lambda path: path.mkdir(), "no file"),
        (lambda path: path.write_bytes(b""), "is no PNG"),
        (lambda path: path.write_text("no image"), "is no PNG"),
        (_truncated, "damaged"),
        (_bomb, "million pixels"),
        (_pages, "2 pages"),
        (lambda path: saved(path, np.full((8, 8), 7, np.uint8)), "same value"),
        (lambda path: saved(path, np.full((8, 8), np.nan, np.float32), format="TIFF"), "no numbers"),
    ],
)
def test_an_unusable_picture_is_one_sentence(tmp_path, make, words):
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(InputError, match=words) as raised:
        read_picture(path)
    assert str(raised.value).startswith("a.png")
    assert str(raised.value).endswith(".")
    assert str(tmp_path) not in str(raised.value)


def test_the_size_is_looked_at_before_the_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "MAX_PIXELS", 1000)
    path = saved(tmp_path / "a.png", grey())
    with pytest.raises(InputError, match="export it smaller"):
        read_picture(path)


@pytest.mark.parametrize("shape", [(0, 5), (4, 4, 2), (4,), (2, 2, 2, 2)])
def test_arrays_that_are_no_picture(shape):
    with pytest.raises(InputError, match=r"a\.mat"):
        picture_of(np.zeros(shape), "a.mat")


def test_resizing_agrees_with_the_library():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    pixels = coloured()
    theirs = functional.resize(torch.from_numpy(pixels).permute(2, 0, 1), [24, 24], antialias=True)
    ours = resize_picture(pixels, PictureSpec(pixels=24))
    assert np.abs(ours.astype(int) - theirs.numpy()).max() <= 1


def test_padding_and_cropping_keep_proportions():
    wide = grey(40, 80)
    padded = resize_picture(wide, PictureSpec(pixels=40, fit="pad"))[0]
    assert padded[:10].max() == padded[30:].max() == 0
    assert padded[10:30].max() > 200
    assert np.array_equal(
        resize_picture(wide, PictureSpec(pixels=40, fit="crop"))[0],
        resize_picture(wide[:, 20:60], PictureSpec(pixels=40))[0],
    )


def test_what_the_network_takes():
    spec = SMALL.normalised("imagenet")
    assert (spec.mean, spec.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert PictureSpec.from_json(spec.to_json(), "bundle") == spec
    plain, normalised = prepare_picture(grey(), SMALL), prepare_picture(grey(), spec)
    assert plain.shape == normalised.shape == (3, 32, 32)
    assert plain.dtype == normalised.dtype == np.float32
    assert plain.min() >= 0
    assert plain.max() <= 1
    assert np.array_equal(plain[0], plain[2])
    expected = (plain - np.array(IMAGENET_MEAN)[:, None, None]) / np.array(IMAGENET_STD)[:, None, None]
    np.testing.assert_allclose(normalised, expected, atol=1e-5)
    one = PictureSpec(pixels=32, channels=1).normalised("imagenet")
    assert prepare_picture(coloured(), one).shape == (1, 32, 32)


@pytest.mark.parametrize(
    "document",
    [{"pixels": 8}, {"channels": 2}, {"mean": [0.5] * 3}, {"mean": [0.5], "std": [0.5]}, {"size": 3}, {"fit": "tile"}],
)
def test_a_bad_spec_is_one_sentence(document):
    with pytest.raises(InputError, match=r"^a\.json: "):
        PictureSpec.from_json(document, "a.json")


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(90, 150), (151, 80), (20, 16), (64, 64)])
def test_a_map_lies_on_the_picture_where_the_network_looked(fit, shape):
    """A linear ramp through the network's square and back is the same ramp."""
    spec = PictureSpec(pixels=64, fit=fit)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    ramp = (x + 2 * y) / 4
    seen = resize_picture(np.rint(ramp * 255).astype(np.uint8), spec)[0].astype(np.float32) / 255
    back = to_picture(seen, spec, shape)
    assert back.shape == shape
    assert back.dtype == np.float32
    inside = to_picture(np.ones((4, 4)), spec, shape) > 0
    if fit == "crop":
        assert inside.sum() == min(shape) ** 2
    else:
        assert inside.all()
    edge = 1 + max(shape) // 64
    rows, columns = np.nonzero(inside)
    middle = np.s_[rows.min() + edge : rows.max() + 1 - edge, columns.min() + edge : columns.max() + 1 - edge]
    assert np.abs(back - ramp)[middle].max() < 0.01


def test_a_coarse_map_is_smooth_between_its_patches():
    coarse = np.zeros((2, 2))
    coarse[:, 1] = 1
    fine = to_picture(coarse, PictureSpec(), (10, 100))
    assert (np.diff(fine[0]) >= 0).all()
    assert fine[0, [0, 50, 99]].round(1).tolist() == [0.0, 0.5, 1.0]


def test_training_and_use_see_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    files = [saved(tmp_path / "a.png", coloured()), saved(tmp_path / "b.png", grey(100, 40))]
    for fit in ("stretch", "pad", "crop"):
        spec = PictureSpec(pixels=32, fit=fit).normalised("imagenet")
        found = load_pictures([str(file) for file in files], spec, tmp_path / "cache")
        trained = to_network(torch.from_numpy(found.pixels[:2]).float() / 255, spec).numpy()
        used = np.stack([prepare_picture(read_picture(file).pixels, spec) for file in files])
        np.testing.assert_allclose(trained, used, atol=1e-6)


def test_pictures_are_decoded_once(tmp_path):
    DECODED.clear()
    files = [str(saved(tmp_path / f"{index}.png", grey(seed=index))) for index in range(3)]
    first = load_pictures(files, SMALL, tmp_path / "cache", read=counting_reader)
    assert first.pixels.shape == (3, 1, 32, 32)
    assert first.thumbnails.shape == (3, 1, 32, 32)
    assert first.pixels.dtype == first.thumbnails.dtype == np.uint8
    assert first.sha256 == tuple(read_picture(file).sha256 for file in files)
    again = load_pictures(files, SMALL.normalised("imagenet"), tmp_path / "cache", read=counting_reader)
    assert files == DECODED
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(first.pixels, again.pixels)
    assert first.sha256 == again.sha256
    saved(tmp_path / "1.png", coloured())
    changed = load_pictures(files, SMALL, tmp_path / "cache", read=counting_reader)
    assert len(DECODED) == 6
    assert changed.pixels.shape == (3, 3, 32, 32)
    assert np.array_equal(changed.pixels[[0, 2]], np.repeat(first.pixels[[0, 2]], 3, axis=1))
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_a_half_written_cache_is_made_anew(tmp_path):
    files = [str(saved(tmp_path / "a.png", grey()))]
    whole = load_pictures(files, SMALL, tmp_path / "cache").pixels.copy()
    (kept,) = (tmp_path / "cache").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:200])
    (tmp_path / "cache" / "files.json").write_text("[1")
    assert np.array_equal(load_pictures(files, SMALL, tmp_path / "cache").pixels, whole)


def test_writing_to_the_pixels_does_not_reach_the_cache(tmp_path):
    pytest.importorskip("torch")
    files = [str(saved(tmp_path / "a.png", grey()))]
    first = load_pictures(files, SMALL, tmp_path / "cache")
    first.pixels[:] = 0
    assert load_pictures(files, SMALL, tmp_path / "cache").pixels.max() > 200


def test_several_processes_give_the_same(tmp_path):
    files = [str(saved(tmp_path / f"{index}.png", coloured(index) if index == 20 else grey())) for index in range(24)]
    seen: list[tuple[int, int]] = []
    alone = load_pictures(files, SMALL, tmp_path / "one")
    shared = load_pictures(files, SMALL, tmp_path / "two", workers=2, progress=lambda *n: seen.append(n))
    assert np.array_equal(alone.pixels, shared.pixels)
    assert np.array_equal(alone.thumbnails, shared.thumbnails)
    assert alone.sha256 == shared.sha256
    assert seen == [(number, 24) for number in range(1, 25)]


def test_all_unusable_pictures_are_found_at_once(tmp_path):
    files = [saved(tmp_path / f"{index}.png", grey()) for index in range(4)]
    for index in (1, 3):
        files[index].write_text("no image")
    paths = [str(file) for file in files]
    with pytest.raises(InputError, match=r"^1\.png is no PNG.*\(1 more picture cannot be used either\)\.$"):
        load_pictures(paths, SMALL, tmp_path / "cache")
    with pytest.raises(InputError, match=r"^gone\.png is not there.*\(2 more pictures cannot"):
        load_pictures([str(tmp_path / "gone.png"), *paths], SMALL, tmp_path / "cache")
    with pytest.raises(InputError, match="no pictures"):
        load_pictures([], SMALL, tmp_path / "cache")
    assert not [path.name for path in (tmp_path / "cache").iterdir() if path.name != "files.json"]


def test_figshare_files_are_read_by_their_own_reader(tmp_path):
    matlab = pytest.importorskip("scipy.io")
    values = grey().astype(np.int16) * 20
    struct_ = {"image": values, "label": 1.0, "PID": "7", "tumorMask": np.zeros_like(values, dtype=np.uint8)}
    matlab.savemat(tmp_path / "1.mat", {"cjdata": struct_})
    found = load_pictures([str(tmp_path / "1.mat")], SMALL, tmp_path / "cache")
    assert np.array_equal(found.pixels[0], resize_picture(grey(), SMALL))


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path):
    file = saved(tmp_path / "a.png", grey())
    with pytest.raises(InputError, match=r"a\.png for prepared pictures cannot be written"):
        load_pictures([str(file)], SMALL, file)
