"""What is allowed in the settings and yet worth a sentence to whoever runs the gateway.

Pure; it must not know where the settings came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config.schema import ModelEntry, Settings


def notices(settings: Settings) -> list[str]:
    """Sentences, each opening with the path that it speaks of."""
    return [*_server(settings), *_models(settings), *_teams(settings)]


def _server(settings: Settings) -> Iterator[str]:
    if not settings.server.admin_keys:
        yield "server.admin_keys: no admin key, so nobody can use the admin API"
    if not (settings.server.metrics_keys or settings.server.is_private):
        yield "server.metrics_keys: none, and public_url is not loopback: only admin keys scrape"
    if settings.storage.ledger == "memory":
        yield "storage.ledger: memory forgets budgets, tasks and spend when the gateway stops"
    for name, upstream in settings.upstreams.items():
        if upstream.allow_private_addresses:
            yield f"upstreams.{name}: may reach private addresses; meant for tests only"
    if settings.references.allow_private_addresses:
        yield "references: teams' links may lead the gateway to private addresses"


def _models(settings: Settings) -> Iterator[str]:
    for name, model in settings.models.items():
        if model.limits.sizes is None:
            yield f"models.{name}.limits.sizes: no list, so upstream judges every size"
        unpriced = _unpriced(model)
        if unpriced:
            yield f"models.{name}.routes: no price for {unpriced}; such orders are refused"


def _unpriced(model: ModelEntry) -> str:
    """The first offered size and quality that no price fits, for orders that name both."""
    sizes, qualities = model.limits.sizes or (None,), model.limits.qualities or (None,)
    for size, quality in product(sizes, qualities):
        order = {"size": size, "quality": quality}
        rules = (rule for route in model.routes for rule in route.price)
        if not any(_may_fit(rule.match, order) for rule in rules):
            named = (f"{field} {value}" for field, value in order.items() if value)
            return ", ".join(named) or "any order"
    return ""


def _may_fit(match: tuple[tuple[str, str], ...], order: dict[str, str | None]) -> bool:
    """Whether a rule can fit an order of this size and quality; unlisted fields are unknown."""
    return all(order.get(field) in (None, value) for field, value in match)


def _teams(settings: Settings) -> Iterator[str]:
    if not settings.teams:
        yield "teams: none here, so only keys made through the admin API open anything"
    for name, team in settings.teams.items():
        if not team.keys:
            yield f"teams.{name}.keys: no keys, so nobody can order for this team"
        if not (team.budgets or team.limits.images):
            yield f"teams.{name}.budgets: no budget and no picture count, so spend has no bound"
