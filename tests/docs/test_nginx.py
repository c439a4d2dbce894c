"""nginx accepts the configuration that the documentation shows."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def test_nginx_accepts_the_configuration_in_the_documentation(tmp_path: Path) -> None:
    if NGINX is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    blocks = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    # The vendor's name is not looked up: the test needs no network.
    inner = "\n".join(blocks).replace("dashboard.quantcdn.io", "127.0.0.1")
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(f"pid {tmp_path}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{inner}\n}}\n")
    checked = subprocess.run(
        [NGINX, "-t", "-q", "-c", str(configuration)], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr
