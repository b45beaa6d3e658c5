"""The settings of alerts: what they become, how they are shown, and what is refused."""

from __future__ import annotations

import json

import pytest
from settings_samples import read

from gateway.config import SettingsError, convert
from gateway.core.money.alerts import Alerting
from gateway.wiring.kinds import KINDS

HOOK = "https://hooks.example.org/services/T0/very-secret?token=x"


def test_nobody_is_told_by_default() -> None:
    assert convert.policy(read(), port=1, kinds=KINDS).alerting is None
    assert read().alerts.thresholds == (80, 100)


@pytest.mark.parametrize("written", ["[50%, 90%]", "[90, 50%]", "['50', \"90%\"]"])
def test_thresholds_are_percentages_in_order(written: str) -> None:
    settings = read(f"alerts: {{webhook: '{HOOK}', thresholds: {written}}}\n")
    assert convert.policy(settings, port=1, kinds=KINDS).alerting == Alerting(HOOK, (50, 90))


def test_an_address_that_is_not_set_is_none() -> None:
    settings = read("alerts: {webhook: '${HOOK:-}', signing_secret: '${ALERT_SECRET:-}'}\n")
    assert convert.policy(settings, port=1, kinds=KINDS).alerting is None
    assert settings.alerts.signing_secret is None


def test_what_follows_the_host_is_never_shown() -> None:
    settings = read("alerts: {webhook: '${HOOK}', signing_secret: abc-secret}\n", HOOK=HOOK)
    shown = dict(settings.shown())["alerts"]
    assert shown == {
        "webhook": "https://hooks.example.org/...",
        "thresholds": ("80%", "100%"),
        "signing_secret": "********",
        "allow_private_addresses": False,
    }
    assert "very-secret" not in json.dumps(shown) + repr(settings)


@pytest.mark.parametrize("host", ["http://127.0.0.1:9093", "https://[fd00::1]/x", "http://alerts"])
def test_an_internal_address_must_be_allowed(host: str) -> None:
    with pytest.raises(SettingsError, match=r"alerts\.webhook: an internal address needs"):
        read(f"alerts: {{webhook: '{host}'}}\n")
    settings = read(f"alerts: {{webhook: '{host}', allow_private_addresses: true}}\n")
    assert convert.policy(settings, port=1, kinds=KINDS).alerting == Alerting(host, (80, 100))
