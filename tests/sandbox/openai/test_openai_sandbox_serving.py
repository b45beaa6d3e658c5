"""`image-gateway sandbox --kind openai`."""

import signal
import subprocess
import sys

import httpx2 as httpx
import pytest
from click.testing import CliRunner

from gateway.cli.sandbox import sandbox_command
from gateway.sandbox.openai.words import WORDS


def test_the_command_serves_until_a_signal_and_exits_0() -> None:
    command = [
        sys.executable, "-m", "gateway", "sandbox", "--kind", "openai", "--port", "0",
        "--seconds", "0", "--picture-scale", "0.05", "--model", "gpt-image-2", "--model", "art",
        "--deployment", "pictures=art", "--images-per-minute", "3", "--unverified-model", "art",
    ]  # fmt: skip
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        line = process.stdout.readline()
        assert line.startswith("OpenAI sandbox ready on http://127.0.0.1:")
        url = line.split()[4]
        assert url.endswith("/v1")
        with httpx.Client(headers={"Authorization": "Bearer sk-x"}, timeout=10) as client:
            listed = client.get(f"{url}/models").json()["data"]
            assert [one["id"] for one in listed] == ["gpt-image-2", "art"]
            body = {"model": "gpt-image-2", "prompt": "x", "quality": "low"}
            answer = client.post(f"{url}/images/generations", json=body)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-remaining-images"] == "2"
            body["model"] = "art"
            assert client.post(f"{url}/images/generations", json=body).status_code == 403
            bill = client.get(f"{url.removesuffix('/v1')}/sandbox/bill").json()
            assert (bill["calls"], bill["requests"]) == (1, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_help_teaches_every_word() -> None:
    shown = CliRunner().invoke(sandbox_command, ["--help"]).output
    for word in WORDS.values():
        assert f"[sandbox:{word.form}]" in shown


@pytest.mark.parametrize(
    "flags",
    [
        ["--kind", "openai", "--credits", "5"],
        ["--kind", "openai", "--allow-private-addresses"],
        ["--kind", "openai", "--rate", "stuck=0.5"],
        ["--kind", "openai", "--deployment", "pictures"],
        ["--kind", "evolink", "--images-per-minute", "5"],
        ["--rate", "late-http=0.5"],
        ["--kind", "azure"],
    ],
)
def test_flags_of_the_other_kind_are_usage_errors(flags: list[str]) -> None:
    assert CliRunner().invoke(sandbox_command, flags).exit_code == 2
