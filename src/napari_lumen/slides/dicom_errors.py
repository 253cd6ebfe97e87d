"""Why a DICOM file is not read here; both become one sentence before a user sees them."""

from __future__ import annotations


class UnsupportedDicomError(Exception):
    """The file is sound as far as seen, but of a kind that this backend does not read; another may."""


class BrokenDicomError(Exception):
    """The file is damaged, truncated or incomplete. The text goes on from the file's name: "it ends ..."."""
