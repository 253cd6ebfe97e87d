"""``python -m bench.zoo OUT [NAME ...]``: train the models that ship, or those named, into folders of OUT.

Stopped at any moment, the same command goes on. A model that came out well is copied by hand to
`src/napari_lumen/models/zoo`: a training is not to replace what ships by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.zoo.models import shipped
from napari_lumen.training import search, train

out, names = Path(sys.argv[1]), sys.argv[2:]
for model in shipped():
    if not names or model.config.name in names:
        folder = out / model.config.name
        if model.searched:
            trained = search(model.config, folder, images=model.images()).rebuilt
        else:
            trained = train(model.config, folder, images=model.images())
        print(model.config.name, trained.scores, trained.model)  # noqa: T201
