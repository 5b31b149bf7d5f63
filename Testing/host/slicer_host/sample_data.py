"""``SampleData``: sources are recorded, and loaded by the loader that the module gave; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import slicer


class SampleDataSource:
    """One data set, with upstream's keyword names."""

    def __init__(
        self,
        sampleName: str | None = None,
        sampleDescription: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        checksums: Any = None,
        loadFiles: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
    ) -> None:
        if uris is None:
            raise TypeError("upstream counts the uris, which may not be None")
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription if sampleDescription is not None else sampleName
        lists = [value if isinstance(value, list | tuple) else [value] for value in (uris, fileNames, nodeNames)]
        self.uris, self.fileNames, self.nodeNames = (list(values) for values in lists)
        self.loadFiles, self.loadFileType, self.checksums = loadFiles, loadFileType, checksums
        self.customDownloader, self.thumbnailFileName = customDownloader, thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}


class SampleDataLogic:
    """Finds a registered source and runs its loader."""

    def __init__(self, logMessage: Any = None) -> None:
        self.logMessage = logMessage

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileType: Any = None,
        loadFiles: Any = None,
        loadFileProperties: dict[str, Any] | None = None,
        checksums: Any = None,
    ) -> None:
        source = SampleDataSource(
            sampleName=sampleName,
            uris=uris,
            fileNames=fileNames,
            nodeNames=nodeNames,
            thumbnailFileName=thumbnailFileName,
            loadFileType=loadFileType,
            loadFiles=loadFiles,
            loadFileProperties=loadFileProperties,
            checksums=checksums,
            customDownloader=customDownloader,
        )
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        sources = slicer.modules.sampleDataSources.setdefault(category, [])
        # a reloaded module registers its sources again
        sources[:] = [known for known in sources if known.sampleName != sampleName] + [source]

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        for sources in getattr(slicer.modules, "sampleDataSources", {}).values():
            for source in sources:
                if sampleName == source.sampleName or sampleName in [n for n in source.nodeNames if n]:
                    return source
        return None

    def downloadFromSource(self, source: SampleDataSource) -> list[Any]:
        if source.customDownloader is None:
            raise RuntimeError(f"The test host downloads nothing; '{source.sampleName}' has no customDownloader")
        result = source.customDownloader(source)
        return list(result) if isinstance(result, list | tuple) else [result]

    def downloadSamples(self, sampleName: str) -> list[Any]:
        source = self.sourceForSampleName(sampleName)
        if source is None:
            raise Exception(f"No source found for sample '{sampleName}'")
        return self.downloadFromSource(source)

    def downloadSample(self, sampleName: str) -> Any:
        return self.downloadSamples(sampleName)[0]


def downloadSample(sampleName: str) -> Any:
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName: str) -> list[Any]:
    return SampleDataLogic().downloadSamples(sampleName)
