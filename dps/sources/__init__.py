"""Where examples come from: a hub, a folder, the built-in generators."""

from __future__ import annotations

from dps.errors import InputError
from dps.paths import is_folder
from dps.sources.base import Source
from dps.sources.readers import shown

__all__ = ["Source", "open_source"]


def open_source(data: str) -> Source:
    """The source that `data` names: "hub", "builtin" or a folder. Raises InputError where it is none."""
    if data == "hub":
        from dps.sources.hub import HubSource

        return HubSource()
    if data == "builtin":
        from dps.sources.builtin import BuiltinSource

        return BuiltinSource()
    if not is_folder(data):
        raise InputError(f"data: there is no folder {shown(data)}; give auto, hub, builtin or a folder")
    from dps.sources.folder import FolderSource

    return FolderSource(data)
