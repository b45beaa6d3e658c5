"""A model that upstreams of two kinds serve: a route that cannot make an order is passed over, and
everybody who asks is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from house import PRICE_USD, TEAM_KEY, House, house

from gateway.cli.explanation import explain

AUTH = {"Authorization": f"Bearer {TEAM_KEY}"}
OPENAI = {
    "kind": "openai",
    "base_url": "http://127.0.0.1:9/v1",
    "api_key": "sk-openai",
    "allow_private_addresses": True,
}
EVOLINK_ROUTE = {"upstream": "evolink", "model": "gpt-image-1.5", "price": PRICE_USD}
OPENAI_ROUTE = {"upstream": "openai", "model": "gpt-image-1.5", "price": 0.01}
RESOLVED = {"resolution": "2K"}


def served_by(*routes: Any) -> dict[str, Any]:
    """A model whose orders may carry a resolution, which only one kind knows."""
    limits = {"sizes": ["1:1"], "qualities": ["low"], "resolutions": ["1K", "2K"]}
    model = {"limits": limits, "routes": list(routes)}
    return {"models": {"gpt-image-1.5": model}, "upstreams": {"openai": OPENAI}}


async def estimated(one: House, **more: Any) -> Any:
    body = {"model": "gpt-image-1.5", "prompt": "a fox", **more}
    return (await one.client.post("/v1/images/estimate", json=body, headers=AUTH)).json()


async def test_an_estimate_tells_the_routes_and_why_one_is_skipped(tmp_path: Path) -> None:
    async with house(tmp_path, **served_by(EVOLINK_ROUTE, OPENAI_ROUTE)) as one:
        told = await estimated(one)
        cheap, dear = told["routes"]
        assert (cheap["name"], cheap["kind"]) == ("openai/gpt-image-1.5", "openai")
        assert cheap["skipped"] is None and told["price_usd"] == cheap["price_usd"]
        assert 0.01 < cheap["price_usd"] < 0.011, "the words of the prompt cost something too"
        assert dear == {
            "name": "evolink/gpt-image-1.5",
            "kind": "evolink",
            "price_usd": PRICE_USD,
            "skipped": None,
        }
        told = await estimated(one, **RESOLVED)
        fits, skipped = told["routes"]
        assert (told["price_usd"], fits["name"]) == (PRICE_USD, "evolink/gpt-image-1.5")
        assert skipped["name"] == "openai/gpt-image-1.5" and skipped["price_usd"] is None
        assert "resolution" in skipped["skipped"]


async def test_what_azure_makes_less_of_is_known_before_the_order(tmp_path: Path) -> None:
    azure = {**OPENAI, "style": "azure_v1", "base_url": "http://127.0.0.1:9/openai/v1"}
    settings = served_by(EVOLINK_ROUTE, OPENAI_ROUTE)
    async with house(tmp_path, **settings) as one:
        assert (await estimated(one, output_format="webp"))["routes"][0]["skipped"] is None
    settings["upstreams"] = {"openai": azure}
    settings["models"]["gpt-image-1.5"]["defaults"] = {"size": "1:1", "quality": "low"}
    async with house(tmp_path / "azure", **settings) as one:
        told = (await estimated(one, output_format="webp"))["routes"]
        assert [route["name"] for route in told if route["skipped"]] == ["openai/gpt-image-1.5"]
        assert (await one.made("a fox", output_format="webp"))["status"] == "completed"


async def test_an_order_goes_where_it_fits_and_its_run_tells_of_the_other(tmp_path: Path) -> None:
    async with house(tmp_path, **served_by(EVOLINK_ROUTE, OPENAI_ROUTE)) as one:
        task = await one.made("a fox", **RESOLVED)
        told = (await one.admin("GET", f"runs/{task['id']}")).json()
        assert told["run"]["route"] == "evolink/gpt-image-1.5"
        assert [(r["name"], r["skipped"] is None) for r in told["routes"]] == [
            ("evolink/gpt-image-1.5", True),
            ("openai/gpt-image-1.5", False),
        ]
        assert "openai/gpt-image-1.5 does not take resolution: " in told["summary"]
        shown = "\n".join(explain(told))
        assert "routes" in shown and "openai/gpt-image-1.5" in shown
        plain = (
            await one.admin("GET", f"runs/{(await one.made('plain', **RESOLVED))['id']}")
        ).json()
        assert plain["routes"] == told["routes"]
        assert not await one.violations()


async def test_an_order_that_fits_no_route_is_refused_by_its_field(tmp_path: Path) -> None:
    async with house(tmp_path, **served_by(OPENAI_ROUTE)) as one:
        refused = await one.post("a fox", **RESOLVED)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "invalid_request")
        assert error["param"] == "resolution"
        assert "openai/gpt-image-1.5" in error["message"] and "price" not in error["message"]
        told = await estimated(one, **RESOLVED)
        assert (told["verdict"], told["price_usd"]) == ("deny", None)
        assert told["denial"]["reason"] == "no_route_fits"
        denials = 'gateway_denials_total{mode="enforce",reason="no_route_fits",team="blue"}'
        assert (await one.metrics())[denials] == 1
