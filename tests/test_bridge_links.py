"""Links by prefix."""

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from fake_crazyflie import FakeCrazyflie, FakeLogConfig

from firmware_bridge import links
from firmware_bridge.links import link_kind, open_link
from firmware_bridge.mavlink.link import MavlinkLink
from firmware_bridge.msp.link import MspLink
from neural_lander.errors import UserError
from neural_lander.vehicle import load_vehicle

VEHICLE = load_vehicle("crazyflie-21")


def test_prefixes_lead_to_their_links(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(links, "open_port", lambda address: opened.append(address) or types.SimpleNamespace(file=None))
    vehicle = load_vehicle("intel-aero")
    assert isinstance(open_link("mavlink:/dev/ttyACM0?baud=921600", vehicle), MavlinkLink)
    link = open_link("msp:socket://127.0.0.1:5761", vehicle, rate=100.0)
    assert isinstance(link, MspLink)
    assert opened == ["/dev/ttyACM0?baud=921600", "socket://127.0.0.1:5761"]


@pytest.mark.parametrize(
    "address",
    ["", "mavlink", "serial:/dev/ttyACM0", "/dev/ttyACM0", "msq:socket://127.0.0.1:5761", "Mavlink:udpin://:14550"],
)
def test_an_unknown_prefix_is_answered_with_the_known_ones(address: str) -> None:
    with pytest.raises(UserError, match="mavlink:, msp:, crazyflie:"):
        open_link(address, VEHICLE)


def test_a_prefix_without_an_address_is_refused() -> None:
    with pytest.raises(UserError, match="names no port"):
        open_link("msp:", VEHICLE)


def test_links_import_no_protocol_before_it_is_asked_for() -> None:
    code = "import sys, firmware_bridge.links; print([m for m in ('pymavlink', 'cflib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_cflib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cflib", "cflib.crtp", "cflib.crazyflie", "cflib.crazyflie.log"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'neural-lander\[crazyflie\]'"):
        open_link("crazyflie:radio://0/80/2M", VEHICLE)


def test_cflib_is_opened_with_the_uri_behind_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, drivers = FakeCrazyflie(), []

    def init_drivers(enable_serial_driver: bool = False) -> None:
        drivers.extend(["radio", "serial"] if enable_serial_driver else ["radio"])

    modules: dict[str, dict[str, Any]] = {
        "cflib": {},
        "cflib.crtp": {"init_drivers": init_drivers, "CLASSES": drivers},
        "cflib.crazyflie": {"Crazyflie": lambda: fake},
        "cflib.crazyflie.log": {"LogConfig": FakeLogConfig},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for _ in range(2):  # a link that was lost is opened anew
        open_link("crazyflie:serial://ttyAMA0", VEHICLE)
    assert fake.uri == "serial://ttyAMA0" and drivers == ["radio", "serial"]


def test_a_link_of_somebody_elses_is_named_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_link.py").write_text(
        "from firmware_bridge.links import LinkKind\n"
        "def opened(address, vehicle, rate):\n    return address, vehicle.name, rate\n"
        "KIND = LinkKind(opened, frozenset({'rate'}), needless=frozenset({'throttle_rate'}), tells_hover=True)\n"
        "NONE = 3\n"
        "def broken(address, vehicle):\n    raise OSError('no such device')\n"
        "BROKEN = LinkKind(broken)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    address = "strange_link:KIND:socket://127.0.0.1:5761"
    link: Any = open_link(address, VEHICLE, rate=50.0, throttle_rate=25.0)
    assert link == ("socket://127.0.0.1:5761", "crazyflie-21", 50.0)
    assert link_kind(address).tells_hover
    with pytest.raises(UserError, match="has no order; it takes: rate, throttle_rate"):
        open_link(address, VEHICLE, order=(0, 1, 2, 3))
    with pytest.raises(UserError, match="is of type int, not a firmware_bridge.links.LinkKind"):
        open_link("strange_link:NONE:x", VEHICLE)
    with pytest.raises(UserError, match="module 'stranger_link' cannot be imported"):
        open_link("stranger_link:KIND:x", VEHICLE)
    with pytest.raises(UserError, match="names no port"):
        open_link("strange_link:KIND:", VEHICLE)
    with pytest.raises(UserError, match="failed to open with OSError: no such device"):
        open_link("strange_link:BROKEN:x", VEHICLE, rate=50.0, throttle_rate=25.0)
