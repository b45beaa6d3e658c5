"""What nginx is told: to send files, or to send a gateway's as `deploy/nginx.conf` says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

DEPLOYED: Final = Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf"
PICTURES: Final = "/var/lib/image-gateway/data/pictures"
AROUND: Final = """
daemon off; worker_processes 1; pid "{folder}/pid"; error_log "{folder}/errors"; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_body_temp_path "{folder}/body"; proxy_temp_path "{folder}/proxy";
  fastcgi_temp_path "{folder}/fastcgi"; uwsgi_temp_path "{folder}/uwsgi";
  scgi_temp_path "{folder}/scgi";
  {inside}
}}
"""


def program() -> str | None:
    """None where it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def written(folder: Path, inside: str) -> Path:
    """The file of a server that has `inside` as the content of its `http`."""
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(AROUND.format(folder=folder, user=user, inside=inside))
    return file


def of_files(port: int, folder: Path) -> str:
    return (
        f"types {{ image/png png; }} server {{ listen 127.0.0.1:{port}; root {folder}; etag on; }}"
    )


def in_front(port: int, gateway_port: int, pictures: Path) -> str:
    """The lines that send pictures from their files alone, switched on as they stand there."""
    text = DEPLOYED.read_text("utf-8")
    asks = _found(r'^map "\$request_method .*?^\}$', text)
    files = _found(r'^    #location ~ "\^/pictures/.*?^    #\}$', text)
    asked = _found(r"^    #location @image_gateway_asked.*?^    #\}$", text)
    inside = re.sub(r"^(\s*)#", r"\1", f"{files}\n{asked}", flags=re.MULTILINE)
    return (
        f"upstream image_gateway {{ server 127.0.0.1:{gateway_port}; keepalive 64; }}\n{asks}\n"
        f"server {{ listen 127.0.0.1:{port};\n{inside.replace(PICTURES, str(pictures))}\n}}"
    )


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{DEPLOYED.name} has nothing like {pattern}")
    return found[0]
