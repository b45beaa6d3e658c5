"""What is written beside a picture: where it came from, so that the folder tells by itself."""

from __future__ import annotations

import json

from gateway.core.catalog import Catalog
from gateway.core.instants import rfc3339
from gateway.core.model import Kept, Run
from gateway.core.money.usd import dollars


def sidecar(run: Run, kept: Kept, catalog: Catalog) -> dict[str, object]:
    """The picture's provenance as plain JSON values; `run` is the run `once_kept`.

    `cost_usd` is the run's whole cost, which its `n` pictures share. `another_model` is there where
    the settings, as they are now, say that its route leads to another model than was ordered.
    """
    is_another = catalog.leads_to_another(run.model, run.route)
    request = json.loads(run.request)
    picture = kept.picture
    return {
        "picture": picture.name,
        "bytes": picture.size_bytes,
        "width": picture.width,
        "height": picture.height,
        "index": run.links.index(kept.link),
        "prompt": request.get("prompt"),
        "parameters": {name: value for name, value in request.items() if name != "prompt"},
        "model": run.model,
        "team": run.team,
        "run": run.id,
        "upstream": run.upstream,
        "upstream_model": run.upstream_model,
        **({"another_model": True} if is_another else {}),
        "upstream_task": run.upstream_task_id,
        "cost_usd": dollars(run.spent.usd_micros),
        "created_at": rfc3339(run.created_at),
        "kept_at": rfc3339(run.finished_at or run.created_at),
    }
