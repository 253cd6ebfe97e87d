"""Boxes around the fields that are proposed for correcting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_lumen.plugin.layers import KEY, PLACED
from napari_lumen.plugin.placing import fingerprint_of, origin_of, step_of

if TYPE_CHECKING:
    from napari.layers import Layer, Shapes

    from napari_lumen.corrections.proposals import Proposal

_COLOR = "#39e600"  # no stain is green, and an edit window is amber
_EDGE = 1 / 80  # of a field


def proposal_boxes(proposals: Sequence[Proposal], slide: Layer, run: str) -> Shapes:
    """Return a layer of boxes with their ranks, laid on a slide.

    Parameters
    ----------
    proposals : sequence of Proposal
        At least one, the best first.
    slide : Layer
    run : str
        Folder of the run that they are of.
    """
    from napari.layers import Shapes

    # napari counts from the middle of a pixel
    corners = [
        np.array([(item.region.y, item.region.x), (item.region.bottom, item.region.right)]) - 0.5
        for item in proposals
    ]
    return Shapes(
        corners,
        shape_type="rectangle",
        name="Proposals",
        edge_color=_COLOR,
        face_color="transparent",
        edge_width=proposals[0].region.height * _EDGE,
        features={
            "rank": list(range(1, len(proposals) + 1)),
            "reason": [item.reason for item in proposals],
        },
        opacity=1.0,
        text={"string": "{rank}", "size": 14, "color": _COLOR, "anchor": "center"},
        scale=step_of(slide),
        translate=origin_of(slide),
        units=slide.units,
        metadata={
            KEY: {
                "kind": "proposals",
                "run": run,
                "fingerprint": fingerprint_of(slide),
                PLACED: (step_of(slide), origin_of(slide)),
            },
            "proposals": tuple(proposals),
        },
    )
