"""The user's bundles: listed by task, imported from a folder or a zip, nothing half-copied."""

from __future__ import annotations

import shutil
import zipfile

import pytest

from cadx.errors import BundleError, InputError
from cadx.library import (
    BRAIN_PHANTOM_DEMO,
    BRAIN_TYPE,
    IPMN_DEMO,
    BundleFilter,
    bundle_folders,
    import_bundle,
    shipped_bundle,
)

from picture_samples import make_picture_bundle
from support import make_bundle


def zipped(folder, path, *, inside="bundle", extra=None):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, f"{inside}/{file.relative_to(folder)}")
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
    return path


def names(own):
    return sorted(path.name for path in own.rglob("*")) if own.is_dir() else []


def test_shipped_bundles_come_first_and_only_those_of_the_task(bundle, tmp_path):
    own = tmp_path / "own"
    assert bundle_folders(own, "ipmn") == [shipped_bundle(IPMN_DEMO)]
    place = import_bundle(bundle.folder, own, "ipmn")
    assert bundle_folders(own, "ipmn") == [shipped_bundle(IPMN_DEMO), place]
    assert bundle_folders(own, "chest-xray") == []
    (own / "no bundle").mkdir()
    assert bundle_folders(own) == [*map(shipped_bundle, (BRAIN_PHANTOM_DEMO, BRAIN_TYPE, IPMN_DEMO)), place]


def test_bundles_are_offered_by_what_they_read(bundle, tmp_path):
    own = tmp_path / "own"
    volumes = import_bundle(bundle.folder, own)
    pictures = import_bundle(make_picture_bundle(tmp_path / "made").folder, own, BundleFilter("pictures"))
    brain, ipmn = [shipped_bundle(BRAIN_PHANTOM_DEMO), shipped_bundle(BRAIN_TYPE)], shipped_bundle(IPMN_DEMO)
    assert bundle_folders(own, BundleFilter("pictures")) == [*brain, pictures]
    assert bundle_folders(own, BundleFilter("volumes")) == [ipmn, volumes]
    assert bundle_folders(own, BundleFilter(tasks=("ipmn", "brain"))) == [ipmn, pictures, volumes]
    assert bundle_folders(own, BundleFilter("pictures", tasks=("ipmn", "brain"))) == [pictures]
    assert bundle_folders(own, BundleFilter("pictures", but_tasks=("brain", "chest-xray"))) == brain
    (pictures / "configs" / "preparation.json").write_text("no settings")
    assert bundle_folders(own, BundleFilter("pictures")) == brain


def test_a_bundle_that_is_not_wanted_is_refused(bundle, tmp_path):
    own, made = tmp_path / "own", make_picture_bundle(tmp_path / "made")
    with pytest.raises(InputError, match="random is a bundle for volumes, not for pictures; choose another"):
        import_bundle(bundle.folder, own, BundleFilter("pictures"))
    with pytest.raises(InputError, match="made is a bundle for brain, which has a place of its own; choose another"):
        import_bundle(made.folder, own, BundleFilter("pictures", but_tasks=("brain",)))
    with pytest.raises(InputError, match="made is a bundle for brain, not for chest-xray or ipmn; choose another"):
        import_bundle(made.folder, own, BundleFilter(tasks=("chest-xray", "ipmn")))
    assert names(own) == []


@pytest.mark.parametrize("inside", ["bundle", "a/b"])
def test_a_zip_is_unpacked_and_named_after_the_bundle(bundle, tmp_path, inside):
    place = import_bundle(zipped(bundle.folder, tmp_path / "b.zip", inside=inside), tmp_path / "own")
    assert place == tmp_path / "own" / bundle.settings.name
    assert import_bundle(bundle.folder, tmp_path / "own") == place, "the same one again"
    assert [path.name for path in (tmp_path / "own").iterdir()] == [place.name]


def test_another_bundle_of_the_same_name_is_refused(bundle, tmp_path):
    import_bundle(bundle.folder, tmp_path / "own")
    other = make_bundle(tmp_path / "other", demo=True)
    with pytest.raises(InputError, match="already is another bundle random"):
        import_bundle(other.folder, tmp_path / "own")


def test_a_bundle_for_another_task_is_refused(bundle, tmp_path):
    with pytest.raises(InputError, match="for ipmn, not for chest-xray"):
        import_bundle(bundle.folder, tmp_path / "own", "chest-xray")
    assert names(tmp_path / "own") == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a\\..\\evil.txt"])
def test_a_zip_that_leaves_its_folder_is_refused(bundle, tmp_path, name):
    source = zipped(bundle.folder, tmp_path / "b.zip", extra={name: "x"})
    with pytest.raises(BundleError, match="outside itself"):
        import_bundle(source, tmp_path / "own")
    assert names(tmp_path / "own") == [] and not list(tmp_path.rglob("evil.txt"))


def test_what_is_no_bundle_is_refused_and_leaves_nothing(bundle, tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "empty").mkdir()
    changed = shutil.copytree(bundle.folder, tmp_path / "changed")
    (changed / "docs" / "README.md").write_text("another card")
    two = zipped(bundle.folder, tmp_path / "two.zip")
    with zipfile.ZipFile(two, "a") as archive:
        archive.writestr("second/manifest.json", "{}")
    for source in (tmp_path / "text.zip", tmp_path / "empty", changed, two):
        with pytest.raises(BundleError):
            import_bundle(source, tmp_path / "own")
    assert names(tmp_path / "own") == []
