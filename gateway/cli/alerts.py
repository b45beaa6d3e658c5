"""`image-gateway alerts`: whether an alert would arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gateway.cli.connection import EXIT_REFUSED
from gateway.cli.formats import plain
from gateway.cli.operator import Operator, connected

if TYPE_CHECKING:
    from gateway.web.admin.alerts import AlertTestShape


@click.group("alerts")
def alerts_command() -> None:
    """Alerts: calls that tell an operator that a team comes near one of its limits.

    They go to alerts.webhook of the settings. Those that were sent are among the callbacks.

    \b
      image-gateway alerts test
      image-gateway callbacks list --state failed
    """


@alerts_command.command("test", short_help="Send a test alert.")
@connected
def test_command(operator: Operator) -> None:
    """Sends a test alert to alerts.webhook and tells what its receiver answered.

    The running gateway sends it, once, signed and through its proxy as every alert. The exit
    status is 1 when it did not arrive.

    \b
      image-gateway alerts test
      image-gateway alerts test --json
    """
    answer = operator.send("POST", "alerts/test", {})
    operator.show(answer, _told)
    if not operator.read(answer).get("delivered"):
        raise SystemExit(EXIT_REFUSED)


def _told(test: AlertTestShape) -> str:
    host, status, error = plain(test["host"]), test["status"], test["error"]
    if test["delivered"]:
        return f"The test alert has arrived: {host} answered {status}."
    told = plain(error or f"answered {status}").rstrip(".")
    return f"The test alert did not arrive. {host}: {told}."
