"""The page as a person sees it, in a real browser: wide and narrow, light and dark, from disk and without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.conclude import conclude
from serving.expectations import Slo
from tests.loadtest.asking import profile_of
from tests.loadtest.browser import Tab, browser, chromium
from tests.loadtest.rich import rich, telemetry
from tests.loadtest.runs import traffic

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="needs chromium, chromium-browser or google-chrome"),
    pytest.mark.timeout(180),
]
PROFILE = profile_of(
    slos=(Slo(metric="ttft", statistic="p95", at_most_ms=300), Slo(metric="goodput", at_least_share=0.9))
)
PICTURES = 15
DRAWN = "document.documentElement.dataset.drawn !== undefined || !document.querySelector('.plot')"
INK = "getComputedStyle(document.querySelector('#answer .xtick text')).fill"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, run in (("rich", rich()), ("nothing", traffic())):
        directory = tmp_path_factory.mktemp(name)
        conclude(run, PROFILE, [], directory, telemetry=telemetry() if name == "rich" else None)
        made[name] = directory / "report.html"
    return made


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(tab: Tab, pages: dict[str, Path]) -> Tab:
    """The page in a wide window, drawn."""
    tab.open(pages["rich"], 1400)
    tab.until(DRAWN)
    return tab


@pytest.mark.parametrize("dark", [pytest.param(False, id="light"), pytest.param(True, id="dark")])
@pytest.mark.parametrize("width", [1400, 910, 390])
@pytest.mark.parametrize("name", ["rich", "nothing"])
def test_the_page_opens_from_disk_whole_silent_and_as_wide_as_the_window(
    tab: Tab, pages: dict[str, Path], name: str, width: int, dark: bool
):
    tab.console.clear()
    tab.requested.clear()
    tab.open(pages[name], width, dark=dark, mobile=width < 500)
    tab.until(DRAWN)
    pictures = PICTURES if name == "rich" else 0
    assert tab.value("document.querySelectorAll('.plot').length") == pictures
    assert (
        tab.value("[...document.querySelectorAll('.plot')].filter(p => p.querySelector('.main-svg')).length")
        == pictures
    )
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")
    inside = (
        "[...document.querySelectorAll('body *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && "
    )
    inside += "['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).length"
    assert tab.value(inside) == 0
    cells = "[...document.querySelectorAll('.sheet td, .sheet tbody th')].filter(c => c.offsetParent && c.innerText)"
    assert tab.value(f"Math.min(...{cells}.map(c => c.clientWidth))") >= (70 if width == 390 else 30)
    assert tab.console == []
    assert tab.requested == [pages[name].as_uri()]


def test_every_trace_is_drawn(opened: Tab):
    empty = "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('.trace path, .points path, .point'))"
    assert opened.value(f"{empty}.map(p => p.id)") == []
    assert opened.value("document.querySelectorAll('#latency .points path').length") > 500


def test_the_pictures_follow_the_scheme_while_the_page_is_open(opened: Tab):
    light = opened.value(INK)
    opened.scheme(dark=True)
    opened.until(f"{INK} !== '{light}'")
    opened.scheme(dark=False)
    opened.until(f"{INK} === '{light}'")


def test_to_zoom_into_one_picture_over_time_is_to_zoom_into_all(opened: Tab):
    opened.value("Plotly.relayout('latency', {'xaxis.range[0]': 20, 'xaxis.range[1]': 26}).then(() => 1)")
    for name in ("outcomes", "engine", "cpu"):
        opened.until(f"document.getElementById('{name}').layout.xaxis.range.join() === '20,26'")
    assert opened.value("document.getElementById('answer').layout.xaxis.range.join()") != "20,26"


def test_the_legend_switches_a_trace_off_and_on_by_the_keyboard_too(opened: Tab):
    button = "document.querySelector('.legend button[data-plot=engine]')"
    shown = "document.querySelectorAll('#engine .scatterlayer .trace').length"
    before = opened.value(shown)
    opened.value(f"{button}.focus(), {button}.click()")
    opened.until(f"{shown} === {before - 1}")
    assert opened.value(f"{button}.getAttribute('aria-pressed')") == "false"
    opened.scheme(dark=True)  # a picture drawn anew keeps what was chosen
    opened.until(f"{shown} === {before - 1}")
    opened.value(f"{button}.click()")
    opened.until(f"{shown} === {before}")
    opened.scheme(dark=False)


def test_the_page_can_be_printed_in_light_colours(opened: Tab, tmp_path: Path):
    opened.scheme(dark=True)
    dark = opened.value(INK)
    opened.value(
        "addEventListener('afterprint', () => { window.printed = true; }), dispatchEvent(new Event('beforeprint'))"
    )
    opened.until(f"{INK} !== '{dark}'")
    assert opened.value("document.querySelector('#latency .main-svg').clientWidth") == 680
    opened.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")
    opened.until(f"window.printed && {INK} === '{dark}'")
    opened.scheme(dark=False)


def test_no_script_but_the_pages_own_would_run(tab: Tab, pages: dict[str, Path], tmp_path: Path):
    """Were a hostile text not escaped, the policy would still stop it."""
    text = pages["nothing"].read_text()
    hostile = tmp_path / "hostile.html"
    inside = "<script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x' onerror='document.title=1'>"
    hostile.write_text(text.replace("</main>", f"{inside}</main>"))
    tab.console.clear()
    tab.requested.clear()
    tab.open(hostile, 1400)
    assert "owned" not in tab.value("document.title")
    assert len([line for line in tab.console if "Content Security Policy" in line]) >= 2
    assert tab.requested == [hostile.as_uri()]
    tab.console.clear()
