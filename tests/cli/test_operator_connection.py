"""What the operator's commands say when there is no answer, a no, or an answer of a stranger."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import operator_samples as samples
import pytest
from operator_fake import ADMIN_KEY, FakeAdmin, fake_admin, run
from starlette.responses import Response

from gateway.cli import connection
from gateway.cli.connection import Unanswered
from gateway.cli.operator import Operator

NO_KEY = (
    "Error: this needs an admin key: set GATEWAY_ADMIN_KEY, or give --key. The gateway knows it by"
    " its digest in server.admin_keys; that of 'serve --sandbox' is admin-demo-key.\n"
)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeAdmin]:
    with fake_admin() as one:
        yield one


def test_without_a_key_it_says_how_to_give_one() -> None:
    result = run("http://127.0.0.1:9", "teams", "list", key=None)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", NO_KEY)


@pytest.mark.parametrize("key", ["two words", "k\u00e9y-of-the-tests", "line\nbreak"])
def test_a_key_that_no_header_can_carry_is_told_and_not_shown(key: str) -> None:
    result = run("http://127.0.0.1:9", "teams", "list", "--key", key)
    assert result.exit_code == 2
    assert "that no key has" in result.stderr
    assert key not in result.output


def test_where_nothing_listens_it_says_where_and_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = run(url, "cache", "stats")
    assert result.exit_code == 2
    assert f"cannot reach {url}: [Errno 111] Connection refused." in result.stderr
    assert "image-gateway serve" in result.stderr
    assert "--url or GATEWAY_URL" in result.stderr


@pytest.mark.parametrize(
    "url",
    ["gateway:8080", "ftp://127.0.0.1", "http://user:word@127.0.0.1", "http://a b", "http://[::1"],
)
def test_an_address_that_is_none_is_told(url: str) -> None:
    result = run(url, "teams", "list")
    assert result.exit_code == 2
    assert "must be an address such as http://127.0.0.1:8080" in result.stderr
    assert "word" not in result.stderr


@pytest.mark.parametrize(
    "behind",
    [
        *("", "/", "/v1", "/v1/v1", "/admin/v1", "/admin/v1/", "/openai/v1", "/team/v1", "/api/v1"),
        *("/console", "/console/", "/console#/teams", "/console?x=1#/runs", "/docs", "/readyz"),
    ],
)
def test_an_address_may_have_its_usual_endings(fake: FakeAdmin, behind: str) -> None:
    fake.answer("GET", "teams", {"data": [], "next": None})
    result = fake.run("teams", "list", url=fake.url + behind)
    assert (result.exit_code, result.stdout[:22]) == (0, "there is no team yet. ")


def test_where_no_team_is_the_first_is_near(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams", {"data": [], "next": None})
    assert "teams create NAME --budget" in fake.run("teams", "list").stdout
    searched = fake.run("teams", "list", "--search", "blue").stdout
    assert searched == "there is no such team.\n"


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 429, 500, 503])
def test_a_refusal_is_told_in_the_gateways_words(fake: FakeAdmin, status: int) -> None:
    fake.refuse("GET", "teams/blue", status, "There is no team 'blue'.\nThere is 'green'.")
    result = fake.run("teams", "show", "blue")
    assert result.exit_code == 1
    assert result.stderr == "Error: There is no team 'blue'.\nThere is 'green'.\n"
    assert result.stdout == ""


def test_a_wrong_key_is_told_and_where_it_belongs(fake: FakeAdmin) -> None:
    result = fake.run("teams", "list", key="some-other-key")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: That is no admin key.\n"
        "Is --key or GATEWAY_ADMIN_KEY a key whose digest is in server.admin_keys?\n"
    )


@pytest.mark.parametrize("words", [["cache", "stats"], ["cache", "stats", "--json"], ["usage"]])
def test_a_page_of_a_proxy_is_told_as_such(fake: FakeAdmin, words: list[str]) -> None:
    page = f"<html><h1>502 Bad\x1b Gateway</h1><p>Bearer {ADMIN_KEY}</p>" + "x" * 200_000
    for path in ("cache", "usage"):
        fake.answer("GET", path, Response(page, 502, media_type="text/html"))
    result = fake.run(*words)
    assert result.exit_code == 2
    assert f"{fake.url} answered 502 with text/html, not as a gateway does" in result.stderr
    assert '("502 Bad\ufffd Gateway Bearer *** xxx' in result.stderr
    assert len(result.stderr) < 400
    assert result.stdout == ""


@pytest.mark.parametrize(
    "answer",
    [
        Response("<p>sign in</p>", 200, media_type="text/html"),
        Response("", 302, {"Location": "http://127.0.0.1:9/"}),
        Response("", 204),
        Response('["not", "an", "object"]', 200, media_type="application/json"),
        Response("{", 200, media_type="application/json"),
        Response('{"detail": "Not Found"}', 404, media_type="application/json"),
    ],
    ids=["page", "redirect", "empty", "list", "half", "other-api"],
)
def test_an_answer_of_something_else_is_told_as_such(fake: FakeAdmin, answer: Response) -> None:
    fake.answer("GET", "cache", answer)
    result = fake.run("cache", "stats")
    assert result.exit_code == 2
    assert "is something else there, or a proxy in between?" in result.stderr


def test_an_answer_of_another_version_is_told_as_such(fake: FakeAdmin) -> None:
    fake.answer("GET", "cache", {"entries": "many"})
    result = fake.run("cache", "stats")
    assert result.exit_code == 2
    assert "in a shape that this command does not know (KeyError" in result.stderr
    assert fake.run("cache", "stats", "--json").stdout == '{"entries": "many"}\n'


def test_an_answer_that_is_too_large_to_draw_is_told(
    fake: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LARGEST_ANSWER_BYTES", 1_000)
    fake.answer("GET", "usage", {"data": ["x" * 2_000]})
    result = fake.run("usage")
    assert result.exit_code == 2
    assert "ask for less of it with filters" in result.stderr
    # What is only passed on has no limit.
    assert len(fake.run("usage", "--json").stdout) > 2_000


@pytest.fixture
def mute() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes a request and sends the given bytes, if any, before it hangs up."""
    sent: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                for piece in sent:
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", sent
        thread.join()


def test_a_cut_connection_leaves_a_change_in_doubt(mute: tuple[str, list[bytes]]) -> None:
    result = run(mute[0], "keys", "issue", "blue")
    assert result.exit_code == 2
    assert f"the connection to {mute[0]} failed" in result.stderr
    assert "Whether the change was made is not known: look first." in result.stderr


def test_a_cut_csv_is_no_success(mute: tuple[str, list[bytes]]) -> None:
    mute[1].append(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 100\r\n\r\nday,team\r\n"
    )
    result = run(mute[0], "usage", "--csv")
    assert result.exit_code == 2
    assert result.stdout_bytes == b"day,team\r\n"
    assert "failed" in result.stderr
    assert "is not known" not in result.stderr


def test_a_gateway_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = run(f"http://127.0.0.1:{silent.getsockname()[1]}", "cache", "purge", "--yes")
    assert result.exit_code == 2
    assert "did not answer within" in result.stderr
    assert "Whether the change was made is not known" in result.stderr


def test_a_proxy_of_the_environment_never_gets_what_is_for_this_machine(
    fake: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    fake.answer("GET", "teams", {"data": [], "next": None})
    assert fake.run("teams", "list").exit_code == 0


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_name_leads_to_another_path(fake: FakeAdmin, name: str) -> None:
    before = len(fake.came)
    result = fake.run("keys", "revoke", "blue", name)
    assert (result.exit_code, len(fake.came)) == (2, before)
    assert "is no name and no id" in result.stderr


def test_names_are_quoted_in_paths(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams/a%2Fb%3Fc/keys", {"data": [], "next": None})
    assert fake.run("keys", "list", "a/b?c").exit_code == 0


def test_the_key_is_in_no_text_about_the_connection() -> None:
    one = Operator(url="http://127.0.0.1:9", key=ADMIN_KEY, as_json=False)
    assert ADMIN_KEY not in repr(one)
    with pytest.raises(Unanswered) as caught:
        one.get("teams")
    assert ADMIN_KEY not in caught.value.message


def test_a_reader_that_leaves_early_sees_no_traceback(fake: FakeAdmin) -> None:
    fake.answer("GET", "teams", {"data": [samples.TEAM] * 3000, "next": None})
    environ = {**os.environ, "GATEWAY_URL": fake.url, "GATEWAY_ADMIN_KEY": ADMIN_KEY}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "teams", "list"],
        env=environ,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("where", ["team", "label"])
def test_bytes_that_are_no_text_are_told(fake: FakeAdmin, where: str) -> None:
    words = ["keys", "issue", "blue\udcff" if where == "team" else "blue", "--label"]
    result = fake.run(*words, "b\udcff" if where == "label" else "b")
    assert result.exit_code == 2
    assert "is no valid UTF-8" in result.stderr


def test_a_screen_of_few_letters_gets_what_it_can_show(fake: FakeAdmin) -> None:
    team = {**samples.TEAM, "description": "caf\u00e9 \u732b"}
    fake.answer("GET", "teams/marketing", team)
    environ = {
        **os.environ,
        "GATEWAY_URL": fake.url,
        "GATEWAY_ADMIN_KEY": ADMIN_KEY,
        "PYTHONIOENCODING": "latin-1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "teams", "show", "marketing"],
        env=environ,
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"description  caf\xe9 ?\n" in done.stdout
