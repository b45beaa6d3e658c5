"""Which proxy each section of the settings goes out through, and how that is told.

Pure; the environment is given, and is read in `core.proxies`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from gateway.config.schema import Settings
from gateway.core.proxies import Proxies, always, masked, of_environment

_CALLED_BACK = ("https://any.invalid",)
_FETCHED = (*_CALLED_BACK, "http://any.invalid")


def proxies(named: SecretStr | None, environ: Mapping[str, str]) -> Proxies:
    """Those of a section whose `proxy` is `named`; without one the environment's."""
    return of_environment(environ) if named is None else always(named.get_secret_value())


def told(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """A sentence for each section that uses a proxy, and for each variable that is no good."""
    return [
        *of_environment(environ).problems,
        *_upstreams(settings, environ),
        *_others(settings, environ),
    ]


def _upstreams(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    for name, entry in settings.upstreams.items():
        proxy = proxies(entry.proxy, environ).for_url(entry.base_url)
        if proxy is not None:
            yield f"upstreams.{name}: goes through the proxy {masked(proxy)}{_by(entry.proxy)}"


def _others(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    sections = {
        "callbacks": (settings.callbacks.proxy, _CALLED_BACK),
        "references": (settings.references.proxy, _FETCHED),
    }
    for name, (named, samples) in sections.items():
        ways = proxies(named, environ)
        found = dict.fromkeys(one for one in map(ways.for_url, samples) if one is not None)
        if found:
            shown = " and ".join(masked(one) for one in found)
            rule = "which itself has to refuse internal addresses"
            yield f"{name}: go through the proxy {shown}{_by(named)}, {rule}"
    webhook = settings.alerts.webhook
    url = webhook.get_secret_value() if webhook else ""
    proxy = proxies(settings.alerts.proxy, environ).for_url(url)
    if proxy is not None:
        yield f"alerts: go through the proxy {masked(proxy)}{_by(settings.alerts.proxy)}"


def _by(named: SecretStr | None) -> str:
    return " of the environment" if named is None else ""
