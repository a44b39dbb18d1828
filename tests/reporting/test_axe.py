"""The pages in a browser, looked through by axe-core: nothing that keeps somebody from reading them."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sample_result import sample

from unsee.reporting.page import render

AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"  # make setup puts it there, if npm is there
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOK = """
axe.run().then(found => {
  const told = document.createElement("pre");
  told.id = "axe";
  told.textContent = JSON.stringify(found.violations.map(each => [each.id, each.nodes.map(node => node.html)]));
  document.body.appendChild(told);
})
"""
REQUEST = {
    "id": "2026-17", "time": "2026-11-26T09:30:00+00:00", "used": ["a"] * 8, "aside": ["b"] * 2, "concepts": ["c"],
}  # fmt: skip


@pytest.mark.skipif(BROWSER is None or not AXE.is_file(), reason="needs a Chromium and axe-core (npm)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(scheme: str, width: int, tmp_path: Path) -> None:
    page = render(sample(request=REQUEST)).replace("<details", "<details open")
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # it would keep axe out
    code = f"<script>{AXE.read_text(encoding='utf-8')}</script><script>{LOOK}</script>"
    file = tmp_path / "page.html"
    file.write_text(page.replace("</body>", f"{code}</body>"), encoding="utf-8")
    scheme_of = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=30000",
        f"--window-size={width},900",
    ]
    command = [str(BROWSER), *options, f"--window-size={width},900", scheme_of, "--dump-dom", file.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    told = re.search(r'<pre id="axe">(.*?)</pre>', shown, flags=re.DOTALL)
    assert told, shown[-500:]
    assert json.loads(html.unescape(told[1])) == []
