"""The stand-in application as tests drive it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets

from cadx.slicer.runtime import draw_without_display

from slicer_host import (
    app,
    collapsible,
    ctk_small,
    hierarchy,
    i18n,
    layout,
    look,
    modules,
    mrml_widgets,
    node_combo_box,
    packaging_module,
    parameters,
    paths,
    qt_module,
    sample_data,
    scripted,
    sliders,
    ui_loader,
)
from slicer_host.messages import DEFAULT_ANSWERS, Messages
from slicer_host.pythonqt import leaf
from slicer_host.scene import ApplicationScene

WIDGETS = (collapsible, ctk_small, layout, modules, mrml_widgets, node_combo_box, paths, sliders)


class Host:
    """One per process: a second call gives the same.

    Attributes
    ----------
    shown
        (kind, text) of every message window that would have been opened.
    answers
        What the user answers, by kind: ``{"confirm": True}``.
    installs
        Every package installation that would have run.
    errors
        Exceptions from slots and observers, which the application only prints.
    """

    _only: ClassVar[Host | None] = None

    def __new__(cls) -> Host:
        if cls._only is None:
            host = super().__new__(cls)
            host._start()
            cls._only = host
        cls._only.attach()
        return cls._only

    def _start(self) -> None:
        draw_without_display()
        if QtWidgets.QApplication.instance() is not None:
            raise RuntimeError("The test host needs to make the QApplication itself")
        self._messages = Messages()
        self.shown, self.answers = self._messages.shown, self._messages.answers
        self.installs: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []
        self._qt = qt_module.make(self._messages)
        home = app.make_folders()
        self._app = app.qSlicerApplication(home)
        look.apply(self._app)
        self._scene = ApplicationScene(home / "cache")
        self._app.attach(self._scene)
        self._hierarchy = hierarchy.SubjectHierarchy(self._scene.scene)
        self._windows: dict[str, Any] = {}
        self._modules = modules.Modules()
        for name, logic in self._scene.module_logics.items():
            setattr(self._modules, name, modules.LoadableModule(name, logic))
        self._selector = modules.ModuleSelector(self._on_selected)
        self._provided = self._make_modules()
        self._attributes = self._make_attributes()
        self._replaced: list[tuple[Any, str, Any]] = []
        self._hook: Any = None

    def _make_modules(self) -> dict[str, ModuleType]:
        ctk = ModuleType("ctk", "CTK's widgets, as far as the host has them.")
        for source in WIDGETS:
            for name, value in vars(source).items():
                if isinstance(value, type) and name.startswith(("ctk", "qMRML", "qSlicer")):
                    ui_loader.custom_widgets[name] = value
        for name, value in ui_loader.custom_widgets.items():
            if name.startswith("ctk"):
                setattr(ctk, name, value)
        return {
            "qt": self._qt,
            "ctk": ctk,
            "SampleData": sample_data,
            "slicer.ScriptedLoadableModule": scripted,
            "slicer.parameterNodeWrapper": parameters,
            "slicer.i18n": i18n,
            "slicer.packaging": packaging_module.make(self.installs),
        }

    def _make_attributes(self) -> list[tuple[Any, str, Any]]:
        own = {name: value for name, value in ui_loader.custom_widgets.items() if name.startswith(("qMRML", "qSlicer"))}
        own |= {"qSlicerScriptedLoadableModule": modules.qSlicerScriptedLoadableModule}
        own |= {"app": self._app, "mrmlScene": self._scene.scene, "modules": self._modules}
        own |= {name.partition(".")[2]: m for name, m in self._provided.items() if name.startswith("slicer.")}
        messages = {
            "_messageDisplay": self._messages.display,
            "messageBox": self._messages.box,
            "delayDisplay": self._messages.delay,
            "moduleSelector": lambda: self._selector,
        }
        pairs = [(slicer, own), (slicer.util, messages)]
        return [(owner, name, value) for owner, values in pairs for name, value in values.items()]

    # --- being there and not

    def attach(self) -> None:
        """Provide ``slicer.app``, ``qt`` and the rest; :meth:`detach` takes them away for other tests."""
        if self._replaced:
            return
        for owner, name, value in self._attributes:
            self._replaced.append((owner, name, getattr(owner, name, None)))
            setattr(owner, name, value)
        sys.modules.update(self._provided)
        self._hook, sys.excepthook = sys.excepthook, self._on_exception

    def detach(self) -> None:
        for owner, name, before in self._replaced:
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._replaced = []
        for name in self._provided:
            sys.modules.pop(name, None)
        if self._hook is not None:
            sys.excepthook, self._hook = self._hook, None

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: Any) -> None:
        self.errors.append(error)
        (self._hook or sys.__excepthook__)(kind, error, trace)

    # --- modules

    def open(self, path: str | Path) -> Any:
        """Load a scripted module from its file and show its panel; returns the module's widget object."""
        path = Path(path).resolve()
        if path.stem in self._windows:
            raise RuntimeError(f"{path.stem} is open already; reload or close it")
        imported = modules.import_file(path)
        module = modules.qSlicerScriptedLoadableModule(path, self._scene.scene)
        setattr(self._modules, path.stem.lower(), module)
        setattr(self._modules, f"{path.stem}Instance", getattr(imported, path.stem)(module))
        self._app.moduleManager().moduleLoaded.emit(path.stem)
        panel = module.widgetRepresentation()
        window = leaf(QtWidgets.QWidget)()
        window.setWindowTitle(str(module.title))
        outer = QtWidgets.QVBoxLayout(window)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(panel)
        window.resize(400, 700)
        self._windows[path.stem] = window
        self.enter(panel.self())
        return panel.self()

    def enter(self, widget: Any) -> None:
        """The user comes to the module."""
        self._windows[widget.moduleName].show()
        widget.parent.enter()
        self.process()

    def exit(self, widget: Any) -> None:
        """The user goes to another module."""
        widget.parent.exit()
        self._windows[widget.moduleName].hide()
        self.process()

    def _on_selected(self, name: str) -> None:
        for other in list(self._windows):
            panel = getattr(self._modules, other.lower()).widgetRepresentation()
            if other != name and panel.isEntered():
                self.exit(panel.self())
        if name in self._windows:
            panel = getattr(self._modules, name.lower()).widgetRepresentation()
            if not panel.isEntered():
                self.enter(panel.self())

    def reload(self, widget: Any) -> Any:
        """What the Reload button does; returns the new widget object."""
        name = widget.moduleName
        slicer.util.reloadScriptedModule(name)
        self.process()
        return getattr(self._modules, f"{name}Widget")

    def close(self, widget: Any) -> None:
        """The application unloads the module: exit, cleanup, widgets deleted."""
        name, panel = widget.moduleName, widget.parent
        if panel.isEntered():
            self.exit(widget)
        self._app.moduleManager().moduleAboutToBeUnloaded.emit(name)
        getattr(self._modules, name.lower()).forget()
        for attribute in (name.lower(), f"{name}Widget", f"{name}Instance"):
            delattr(self._modules, attribute)
        self._windows.pop(name).deleteLater()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        sys.modules.pop(name, None)
        self.process()

    def reset(self) -> None:
        """As after the start: no module open, scene empty, nothing noted."""
        for name in list(self._windows):
            self.close(getattr(self._modules, f"{name}Widget"))
        self.close_scene()
        for noted in (self.shown, self.installs, self.errors):
            noted.clear()
        self.answers.clear()
        self.answers.update(DEFAULT_ANSWERS)

    # --- the event loop

    def process(self, seconds: float = 0.0) -> None:
        """Run the event loop for so long; with 0 once through what waits."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> bool:
        """Run the event loop until the condition holds; False if it did not in this time."""
        end = time.monotonic() + seconds
        while True:
            self._app.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents)
            QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
            if condition():
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.002)

    # --- pictures

    def grab(self, widget: Any, path: str | Path, width: int = 400) -> tuple[int, int]:
        """Lay the panel out at a width and write it as PNG; returns its size, wider if it does not fit."""
        window = widget.window()
        shown = window.isVisible()
        window.show()
        self.process(0.02)
        arrangement = window.layout()
        wanted = max(width, arrangement.minimumSize().width()) if arrangement else width
        if arrangement is None:
            height = window.heightForWidth(wanted) if window.hasHeightForWidth() else -1
            height = height if height > 0 else window.sizeHint().height()
        elif arrangement.hasHeightForWidth():
            height = arrangement.totalHeightForWidth(wanted)
        else:
            height = arrangement.totalSizeHint().height()
        window.resize(wanted, height)
        self.process(0.05)
        picture = widget.grab()
        if not picture.save(str(path), "PNG"):
            raise OSError(f"{path} cannot be written")
        window.setVisible(shown)
        return picture.width(), picture.height()

    # --- the scene

    def close_scene(self) -> None:
        """File, Close scene."""
        self._scene.scene.Clear(0)
        self.process()

    def save_scene(self, path: str | Path) -> None:
        """Write an .mrb."""
        if not self._app.coreIOManager().save_scene(Path(path)):
            raise OSError(f"{path} cannot be written")

    def load_scene(self, path: str | Path) -> None:
        """Read an .mrb in the place of what is there."""
        if not self._app.coreIOManager().load_scene(Path(path), clear=True):
            raise OSError(f"{path} cannot be read as a scene")
        self.process()
