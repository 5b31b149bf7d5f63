"""``slicer.i18n``: no translation is installed, so every text stays as it is."""

from __future__ import annotations

from pathlib import Path


def translate(context: str, text: str) -> str:
    """The text in the application's language, through ``slicer.app.translate``."""
    import slicer

    return slicer.app.translate(context, text)


def getContext(sourceFile: str) -> str:
    """The file's name, after its package's name if it is in one."""
    path = Path(sourceFile)
    in_package = path.is_file() and (path.parent / "__init__.py").is_file()
    name = path.name.removesuffix(".py")
    return f"{path.parent.name}.{name}" if in_package else name


def tr(text: str) -> str:
    """Imported as ``_`` by modules."""
    if not isinstance(text, str):
        raise TypeError(f"tr() takes a text, not {type(text).__name__}")
    return translate("", text)
