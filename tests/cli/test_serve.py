"""`serve`: what its flags mean before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.cli.serve import sandbox_links
from gateway.config import sandbox_settings, with_address


@pytest.mark.parametrize(
    ("host", "port", "links"),
    [
        (None, 9000, None),
        ("127.0.0.1", None, None),
        ("::1", 0, None),
        ("localhost", 9000, None),
        ("0.0.0.0", None, "http://127.0.0.1:8080"),
        ("::", 9000, "http://127.0.0.1:9000"),
        ("192.0.2.7", 9000, "http://127.0.0.1:9000"),
    ],
)
def test_where_the_links_of_the_sandbox_lead(
    tmp_path: Path, host: str | None, port: int | None, links: str | None
) -> None:
    assert sandbox_links(host, port) == links
    settings = sandbox_settings("http://127.0.0.1:9", tmp_path, public_url=links)
    server = with_address(settings, host=host, port=port).server
    assert (server.host, server.public_url) == (host or "127.0.0.1", links)


def test_links_of_the_sandbox_need_a_port_that_is_known() -> None:
    result = CliRunner().invoke(main, ["serve", "--sandbox", "--host", "0.0.0.0", "--port", "0"])
    assert result.exit_code == 2
    assert "name the --port" in result.stderr
