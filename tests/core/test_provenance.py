"""What is written beside a picture of the model that made it."""

from __future__ import annotations

from dataclasses import replace

from core_samples import CATALOG, MODEL, a_run, kept

from gateway.core.catalog import Catalog
from gateway.core.model import RunState
from gateway.core.provenance import sidecar

LINK = "https://example.com/a.png"


def test_that_another_model_made_it_is_told_where_it_is_so() -> None:
    picture = kept(LINK)
    run = a_run(state=RunState.DONE, links=(LINK,), kept=(picture,))
    routes = tuple(replace(one, is_another_model=True) for one in MODEL.routes[:1])
    other = Catalog({MODEL.name: replace(MODEL, routes=routes)})
    assert "another_model" not in sidecar(run, picture, CATALOG)
    told = sidecar(run, picture, other)
    assert told["another_model"] is True and told["upstream_model"] == "gpt-image-1.5-beta"
    assert "another_model" not in sidecar(run, picture, Catalog({}))
    assert "another_model" not in sidecar(replace(run, upstream="x"), picture, other)
