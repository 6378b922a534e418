"""JupyterLab on a free port, a Chromium that looks at it, and what a reader does there."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, sync_playwright

from tests.notebooks import quick
from zfnb.notebooks import kernel_environment

SECONDS = 120  # for whatever one waits for: the machine may be slow, and have other things to do
QUIET = {  # no news and no list of extensions from the network
    "disabledExtensions": {
        "@jupyterlab/apputils-extension:announcements": True,
        "@jupyterlab/extensionmanager-extension": True,
    }
}


@pytest.fixture(scope="session")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip(f"None of {', '.join(names)} is installed.")
    return found


@pytest.fixture(scope="session")
def lab(tmp_path_factory, chromium):
    """Address and token of a JupyterLab over the notebooks, in the quick profile."""
    home = tmp_path_factory.mktemp("jupyter")
    notebooks = tmp_path_factory.mktemp("lab") / "notebooks"
    quick.copy(notebooks)
    # Settings, workspaces and kernels of this machine's user play no part.
    write(home / "config" / "labconfig" / "page_config.json", QUIET)
    launch = ["-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": [sys.executable, *launch], "display_name": "zfnb", "language": "python"}
    write(home / "path" / "kernels" / "python3" / "kernel.json", kernel)
    token = secrets.token_hex(16)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")},
        **kernel_environment(),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_PATH": str(home / "path"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_TOKEN": token,
    }
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--LabApp.expose_app_in_browser=True",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={notebooks}",
    ]
    log = home / "log.txt"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, env=environment, cwd=notebooks, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield address(server, home / "runtime", log), token
    finally:
        server.terminate()  # it ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def address(server: subprocess.Popen, runtime: Path, log: Path) -> str:
    """Where the server listens; it writes that down as soon as it does."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                return json.loads(file.read_text(encoding="utf-8"))["url"]
            except (ValueError, KeyError):
                pass  # half written
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")


@pytest.fixture(scope="session")
def browser(chromium):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


class Notebook:
    """An open notebook, and what goes wrong in it."""

    def __init__(self, page: Page, url: str, token: str, name: str):
        self.page, self.complaints = page, []
        self.elsewhere = []  # addresses of other machines that were asked for
        page.set_default_timeout(1000 * SECONDS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        page.route("**/*", self._stay_here)
        page.goto(f"{url}lab/tree/{name}?reset&token={token}")
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext"
            "?.session?.kernel?.status === 'idle'"
        )

    def _listen(self, message) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def _stay_here(self, route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def run_all(self) -> None:
        """Run all cells, to the end."""
        self.page.evaluate(
            "() => { jupyterapp.commands.execute('notebook:run-all-cells')"
            ".finally(() => window.allCellsRan = true); }"
        )
        self.page.wait_for_function("() => window.allCellsRan", timeout=3000 * SECONDS)
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        self.page.wait_for_function(
            "() => jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.status"
            " === 'idle'"
        )

    def outputs(self) -> list[dict]:
        """All outputs of all cells, as they would be saved."""
        cells = self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.context.model.toJSON().cells"
        )
        return [output for cell in cells for output in cell.get("outputs", [])]

    def errors(self) -> list[str]:
        """What went wrong in cells, in panels, and in the browser."""
        outputs = self.outputs()
        failed = [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]
        printed = self.page.locator(
            '.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"],'
            '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]'
        )
        failed += [text for text in printed.all_inner_texts() if "Error" in text]
        failed += [text for text in self.page.locator(".zfnb-message").all_inner_texts() if text]
        return failed + self.complaints

    def panel(self) -> Locator:
        """The output with the panel, brought into view: the live one, not its still twin."""
        self.page.evaluate(  # pictures far from what is in view are not drawn
            """() => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const view = "application/vnd.jupyter.widget-view+json";
                const shows = cell => (cell.model.outputs?.toJSON() ?? []).some(o => o.data?.[view]
                    && o.data["image/png"]);
                return notebook.scrollToItem(notebook.widgets.findIndex(shows), "start");
            }"""
        )
        live = self.page.locator(".jp-OutputArea-output", has=self.page.locator(".jupyter-widgets"))
        panel = live.filter(has=self.page.locator("img.zfnb-picture"))
        panel.wait_for()
        panel.scroll_into_view_if_needed()
        assert panel.locator("img").count() == 1
        return panel

    def slider(self) -> Locator:
        """The handle of the panel's slider, which takes keys."""
        return self.page.locator(".zfnb-map .noUi-handle")

    def feature_map(self) -> int:
        """Where the slider stands."""
        return int(float(self.slider().get_attribute("aria-valuenow")))

    def picture(self) -> str:
        """Address of the panel's picture; a new one with each new picture."""
        return self.page.locator("img.zfnb-picture").get_attribute("src")

    def new_picture(self, act) -> str:
        """Do something with a control, and wait for the picture to change."""
        before = self.picture()
        act()
        try:
            self.page.wait_for_function(
                "before => ![before, ''].includes(document.querySelector('img.zfnb-picture').src)",
                arg=before,
            )
        except TimeoutError as error:
            errors = "; ".join(self.errors()) or "no error is shown"
            raise AssertionError(f"The picture stays as it is: {errors}.") from error
        self.wait_until_idle()
        return self.picture()


@pytest.fixture
def opened(lab, browser):
    """A function that opens a notebook by its file name."""
    url, token = lab
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    yield lambda name: Notebook(context.new_page(), url, token, name)
    context.close()
