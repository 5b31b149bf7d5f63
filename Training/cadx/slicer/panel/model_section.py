"""Choosing a model bundle: those that ship and those the user imported; its card, version, hash and licence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer.util
from slicer.i18n import tr as _

from cadx.errors import CadxError
from cadx.slicer.panel.forms import button, form_with_room_below


class ModelSection:
    """A list of bundles, by task where the module has several.

    Parameters
    ----------
    parent
        Widget to be put into; gets a layout.
    tasks
        Each task in words, and the bundles for it: a task's name, or a :class:`cadx.library.BundleFilter` made when it
        is needed. Only these are offered.
    own
        The user's folder of imported bundles.
    chosen
        Called with the number of the task and the folder of the bundle when the user chooses another; None where there
        is no bundle for a task.
    """

    def __init__(
        self,
        parent: Any,
        tasks: Sequence[tuple[str, str | Callable[[], Any]]],
        own: Path,
        chosen: Callable[[int, Path | None], None],
    ) -> None:
        self._tasks = tasks
        self._own = own
        self._chosen = chosen
        self._folders: list[Path] = []
        form, below = form_with_room_below(parent)
        self.list = qt.QComboBox()
        self.list.setToolTip(_("The model that grades; every byte of it is checked before use."))
        self.list.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self.import_folder = button(_("Import folder..."), _("Copy a bundle's folder into your own; no network."))
        self.import_zip = button(_("Import zip..."), _("Unpack a zipped bundle into your own; no network."))
        row = qt.QHBoxLayout()
        row.addWidget(self.import_folder)
        row.addWidget(self.import_zip)
        self.facts = qt.QLabel()
        self.facts.setWordWrap(True)
        self.facts.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
        self.card = qt.QTextBrowser()
        self.card.setToolTip(_("The model's card: data, recipe, figures, what it must not be used for."))
        self.card.setMinimumHeight(160)
        self.task = qt.QComboBox()
        self.task.addItems([text for text, _wanted in tasks])
        self.task.setToolTip(_("What the model is to tell."))
        if len(tasks) > 1:
            form.addRow(_("Task:"), self.task)
        else:
            self.task.setParent(parent)
            self.task.setVisible(False)
        form.addRow(_("Model:"), self.list)
        below.addLayout(row)
        below.addWidget(self.facts)
        below.addWidget(self.card)
        self.list.connect("activated(int)", lambda index: self._choose(self._folders[index]))
        self.task.connect("activated(int)", self.choose_task)
        self.import_folder.connect("clicked()", self._ask_folder)
        self.import_zip.connect("clicked()", self._ask_zip)

    @property
    def folder(self) -> Path | None:
        """The chosen bundle's folder."""
        index = int(self.list.currentIndex)
        return self._folders[index] if 0 <= index < len(self._folders) else None

    def offered(self, task: int = 0) -> list[Path]:
        """Folders of the bundles for a task, those that ship first."""
        from cadx.library import bundle_folders

        return bundle_folders(self._own, self._wanted(task))

    def fill(self, current: Path | None = None, task: int = 0) -> None:
        """List the bundles for a task anew; ``current`` is chosen, or else the first."""
        self.task.setCurrentIndex(task)
        self._folders = self.offered(task)
        if current is not None and current not in self._folders:
            self._folders.append(current)
        self.list.clear()
        self.list.addItems([folder.name for folder in self._folders])
        if self._folders:
            self.list.setCurrentIndex(self._folders.index(current) if current is not None else 0)
        self._describe()

    def add(self, source: Path) -> None:
        """Import a bundle and choose it.

        Raises
        ------
        CadxError
            If it is no bundle for this task.
        """
        from cadx.library import import_bundle

        self._choose(import_bundle(source, self._own, self._wanted(int(self.task.currentIndex))))

    def choose_task(self, task: int) -> None:
        """As a user's choice of a task: the first bundle for it."""
        self.fill(None, task)
        self._chosen(task, self.folder)

    def _choose(self, folder: Path) -> None:
        task = int(self.task.currentIndex)
        self.fill(folder, task)
        self._chosen(task, folder)

    def _wanted(self, task: int) -> Any:
        wanted = self._tasks[task][1]
        return wanted if isinstance(wanted, str) else wanted()

    def _describe(self) -> None:
        from cadx.models.bundle import Bundle

        self.card.clear()
        if self.folder is None:
            self.facts.setText(_("No model for this task was found; import one."))
            return
        try:
            bundle = Bundle.load(self.folder)
        except CadxError as error:
            self.facts.setText(str(error))
            return
        self.facts.setText(
            _("Version {version}, licence {licence}\nClasses: {classes}\nSHA-256 {hash}").format(
                version=bundle.version,
                licence=bundle.metadata.get("licence") or _("not stated"),
                classes=", ".join(bundle.settings.classes),
                hash="\u200b".join(bundle.sha256),
            )
        )
        self.card.setMarkdown(bundle.card)

    def _ask_folder(self) -> None:
        path = qt.QFileDialog.getExistingDirectory(None, _("Folder of a model bundle"))
        self._import(path)

    def _ask_zip(self) -> None:
        path = qt.QFileDialog.getOpenFileName(None, _("Zip file of a model bundle"), "", "*.zip")
        self._import(path)

    def _import(self, path: str) -> None:
        if path:
            with slicer.util.tryWithErrorDisplay(_("The model could not be imported."), waitCursor=True):
                self.add(Path(path))
