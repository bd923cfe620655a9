"""What compare compared can be flown: every controller by name, with its gains, within the guard; and who may not."""

import io
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_link import FakeLink, SimulatedClock
from test_bridge_loop import ALL, VEHICLE, Fails, Flight, Knows, lift

import neural_lander.cli.fly_run as fly_module
from firmware_bridge.display import table
from firmware_bridge.estimation.height import Rangefinder
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from firmware_bridge.link import ImuReport
from firmware_bridge.loop import FlightLoop
from firmware_bridge.session import Session, Wishes
from firmware_bridge.supervisor.types import Phase
from neural_lander.cli.fly_controller import choose_controller
from neural_lander.cli.main import main
from neural_lander.control.adaptation import LastLayerAdaptation
from neural_lander.control.build import build_controller
from neural_lander.control.controller import Controller
from neural_lander.control.guard import Guarded, Limits
from neural_lander.control.kinds import CONTROLLERS, controller_named
from neural_lander.control.learned import Learned
from neural_lander.control.tracking import TrackingGains
from neural_lander.control.tuned import FORMAT, FORMAT_VERSION
from neural_lander.errors import UserError
from neural_lander.flightlog import read_log
from neural_lander.residual.domain import Domain, FadingResidual
from neural_lander.residual.model import ReluNetwork


def silent_network() -> ReluNetwork:
    """Hidden units that see the height and the thrusts, and a last layer that makes nothing of them yet."""
    W1 = np.zeros((3, 12), np.float32)
    W1[0, 0], W1[1, 0], W1[2, 8:] = -1.0, -4.0, 0.05
    wide = np.full(8, 9.0, np.float32)
    W2 = np.array([[0, 0, 0], [0, 0, 0], [0.3, 0.3, 0.1]], np.float32)
    return ReluNetwork((W1, W2), (np.array([0.5, 1.0, 0], np.float32), np.zeros(3, np.float32)), "paper", -wide, wide)


WIDE = np.array([[-9.0, 9.0], [-9.0, 9.0]])
DOMAIN = Domain(np.array([-1.0, 3.0]), WIDE, 9 * np.ones(2), np.ones(2), 2.0, np.zeros(3), np.array([0.0, 60.0]))
KNOWS = Learned(Knows(), Knows(), 0.3)
NETWORK = Learned(FadingResidual(silent_network(), DOMAIN), Knows(), 0.3, uncertified="a test's own network")


def flight(controller: Controller | Guarded, **link: Any) -> Flight:
    fake = FakeLink(VEHICLE, **({"floor": -0.4, "ground_effect": lift} | link))
    loop = FlightLoop(fake, Guidance(controller, FlightPlan(VEHICLE)), Rangefinder(), permission=ALL)
    return Flight(fake, loop)


QUICK = ("neural-lander-trim", "indi")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CONTROLLERS])
def test_every_controller_that_is_compared_flies_and_lands_where_it_does_not_hang(name: str) -> None:
    learned = NETWORK if name.endswith("adaptive") else KNOWS
    f = flight(build_controller(controller_named(f"{name}+guard"), VEHICLE, learned))
    f.fly(40.0)
    assert not any(r.problems for r in f.records)
    if name == "pd":  # 20 % of ground effect, and nothing in it that knows or learns
        assert any("no touchdown long after" in r.decision.reason for r in f.records)
    else:
        assert Phase.LANDED in f.phases and f.heights[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_the_guard_leaves_a_landing_as_it_is_bit_for_bit() -> None:
    """From the take-off to the touchdown: that is why it flies along by default."""
    flown = []
    for name in ("pd-trim", "pd-trim+guard"):
        f = flight(build_controller(controller_named(name), VEHICLE))
        f.fly(30.0)
        assert Phase.LANDED in f.phases
        flown.append(f)
    bare, guarded = ([s.thrust for _, s in f.link.sent] for f in flown)
    assert bare == guarded
    assert all(r.guard_force is None for r in flown[0].records)
    assert not any(np.any(r.guard_force) for r in flown[1].records)


@pytest.mark.parametrize("guarded", [False, True])
def test_the_guard_brakes_a_sink_that_the_controller_lets_pass(guarded: bool) -> None:
    weak = Controller(VEHICLE, gains=TrackingGains.critically_damped(VEHICLE, 0.5, Gamma=0.5))
    f = flight(Guarded(weak) if guarded else weak)
    f.loop.limits = type(f.loop.limits)(descent_speed=9.0)
    f.until("hover")
    f.link.v = np.array([0.0, 0.0, -2.5])  # a gust from above
    after = f.fly(2.0)
    low = [
        (r.height, float(r.estimate.velocity[2])) for r in after if r.estimate and r.height and 0.02 < r.height < 0.3
    ]
    barrier = min(climb + Limits().sink_speed(height) for height, climb in low)
    acted = [r.guard_force for r in after if r.guard_force is not None and np.any(r.guard_force)]
    assert barrier > -0.05 if guarded else barrier < -0.2
    assert bool(acted) is guarded
    assert all(force[2] > 0 for force in acted)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_guard_does_not_fly_on_for_a_controller_that_gives_no_numbers(number: float) -> None:
    """In simulation it puts the weight in its place; in flight nothing is sent, and the autopilot takes over."""
    residual = Fails()
    f = flight(Guarded(Controller(VEHICLE, residual)))
    f.until("hover")
    before = f.clock.now()
    residual.broken = lambda: np.full(3, number)
    with np.errstate(invalid="ignore"):
        after = f.fly(2.0)
    assert "not finite" in " ".join(after[0].problems) and after[0].setpoint is None
    assert f.link.sent[-1][0] <= before
    assert Phase.HANDING_BACK in f.phases and not f.link.accepts


def test_the_share_of_the_supervisor_fades_an_adapted_network_whole() -> None:
    controller = build_controller(CONTROLLERS["neural-lander-adaptive"], VEHICLE, NETWORK)
    f = flight(controller)
    f.until("hover")
    assert isinstance(controller.tracking.estimate, LastLayerAdaptation)
    assert controller.tracking.estimate.flown == 1.0
    f.loop._score = lambda state: 9.0
    f.fly(1.0)
    assert controller.tracking.estimate.flown == 0.0
    np.testing.assert_array_equal(f.records[-1].f_a_applied, 0.0)


def test_an_estimate_learns_from_the_thrust_that_was_sent() -> None:
    """Not from what the controller asked for before the take-off or the touchdown scaled it."""
    controller = build_controller(CONTROLLERS["l1"], VEHICLE)
    f = flight(controller)
    for _ in range(60):
        sent = f.fly(0.1)[-1]
        if sent.decision.phase is Phase.TRACKING and sent.setpoint is not None:
            assert float(np.sum(controller.flown_thrust)) == pytest.approx(sent.setpoint.thrust)
    assert sent.decision.phase is Phase.TRACKING


# --- who may not ------------------------------------------------------------------------------------------------------


def test_a_controller_with_a_network_still_needs_its_certificate() -> None:
    bare = Learned(silent_network(), Knows(), 0.3)
    for name in ("neural-lander", "neural-lander-trim", "neural-lander-l1", "neural-lander-adaptive"):
        with pytest.raises(UserError, match="must not fly"):
            build_controller(controller_named(name), VEHICLE, bare)
        with pytest.raises(UserError, match="needs a bundle"):
            choose_controller(name, VEHICLE, None, None, guard=True)


def without_accelerometer(link: FakeLink) -> FakeLink:
    poll: Callable[[float], Any] = link.poll
    link.poll = lambda now: [r for r in poll(now) if not isinstance(r, ImuReport)]  # type: ignore[method-assign]
    return link


@pytest.mark.slow
def test_indi_does_not_begin_where_the_link_tells_no_specific_force() -> None:
    outcomes = []
    for link in (FakeLink(VEHICLE), without_accelerometer(FakeLink(VEHICLE))):
        chosen = choose_controller("indi", VEHICLE, None, None, guard=True)
        guidance = Guidance(chosen.controller, FlightPlan(VEHICLE, settle_time=1.0), name=chosen.kind.label)
        loop = FlightLoop(link, guidance, Rangefinder(), permission=ALL, checks_passed=False)
        s = Session(loop, SimulatedClock(), Wishes(arm=True), [chosen.check], arm=True)
        while s.tick(s.clock.now(), 0.0) and s.clock.now() < 160.0:
            s.clock.sleep_until(s.clock.now() + 0.01)
        outcomes.append(s.outcome)
    assert outcomes[0] == "landed and disarmed"
    assert outcomes[1].startswith("check not passed: specific force: this link tells none, which INDI")
    assert link.sent == [] and "l1 or pd-trim" in outcomes[1]


OWN = textwrap.dedent("""
    import numpy as np
    from neural_lander.control.controller import Controller
    from neural_lander.control.tracking import TrackingGains

    class Law:
        def __init__(self, vehicle): self.speed = vehicle.hover_speed
        def reset(self, moment_trim): pass
        def __call__(self, t, state, reference): return np.full(4, self.speed)

    def stiff(vehicle):
        return Controller(vehicle, gains=TrackingGains.critically_damped(vehicle, 5.0))
    """)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_flight_laws.py").write_text(OWN, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.slow
def test_a_users_own_controller_flies_and_one_that_gives_rotor_speeds_is_refused(own: None) -> None:
    chosen = choose_controller("own_flight_laws:stiff", VEHICLE, None, None, guard=True)
    assert isinstance(chosen.controller, Guarded)
    assert chosen.metadata["controller_gains"]["Lambda_1_s"] == [5.0] * 3
    f = flight(chosen.controller)
    f.fly(30.0)
    assert Phase.LANDED in f.phases
    law = choose_controller("own_flight_laws:Law", VEHICLE, None, None, guard=True)
    with pytest.raises(UserError, match="gives rotor speeds.*told attitude and thrust"):
        Guidance(law.controller, FlightPlan(VEHICLE))


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def fly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture) -> Callable[..., Any]:
    """Run ``fly`` behind a fake link; its exit code, what it prints, and the log's metadata where there is one."""
    monkeypatch.setattr(fly_module, "open_link", lambda *_, **__: FakeLink(VEHICLE, rotors=True))
    monkeypatch.setattr(fly_module, "MonotonicClock", SimulatedClock)
    monkeypatch.setattr(Wishes, "type", lambda self, text, asked: setattr(self, "arm", True))

    def run(*options: str) -> tuple[int, Any, Any]:
        log = tmp_path / f"{len(list(tmp_path.iterdir()))}.mcap"
        line = ["fly", "--link", "mavlink:fake", "--vehicle", "intel-aero", "--arm", "--rate", "100", "--hover", "1"]
        code = main([*line, "--log", str(log), "--json", *options])
        captured = capsys.readouterr()
        if code == 2:
            return code, captured.err, None
        return code, json.loads(captured.out), read_log(log)

    return run


def tuned(folder: Path, **controllers: dict[str, float]) -> Path:
    rows = {name.replace("_", "-"): {"parameters": gains, "candidates": [{}]} for name, gains in controllers.items()}
    document = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "vehicle": VEHICLE.name,
        "vehicle_sha256": VEHICLE.sha256, "candidates_per_controller": 1, "controllers": rows,
    }  # fmt: skip
    path = folder / "tuned.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.mark.slow
def test_the_log_and_the_result_say_who_flew_with_which_gains_and_whether_guarded(
    fly: Callable[..., Any], tmp_path: Path
) -> None:
    path = tuned(tmp_path, pd_trim={"Lambda_1_s": 4.0, "K_v_over_m_1_s": 5.0, "Gamma_1_s": 2.0})
    code, result, log = fly("--controller", "pd-trim", "--tuned", str(path))
    assert code == 0 and result["outcome"] == "landed and disarmed"
    gains = {"Lambda_1_s": 4.0, "K_v_over_m_1_s": 5.0, "Gamma_1_s": 2.0}
    for told in (result, log.metadata):
        assert told["controller"] == "pd-trim+guard" and told["guard"] is True
        assert told["controller_gains"] == gains and told["tuned_gains"] == str(path)
    assert log.guard_force is not None and not np.any(log.guard_force)
    said = next(check["finding"] for check in result["checks"] if check["name"] == "controller")
    assert said == f"PD + trim, guarded; gains of {path}: Lambda_1_s 4, K_v_over_m_1_s 5, Gamma_1_s 2"
    code, result, _ = fly("--controller", "pd-trim+guard", "--tuned", str(path))
    assert code == 0 and result["controller_gains"] == gains
    code, result, log = fly("--controller", "l1", "--no-guard")
    assert code == 0 and result["controller"] == "l1" and result["guard"] is False
    assert log.guard_force is None and log.metadata["controller_gains"]["bandwidth_rad_s"] == 10.0


@pytest.mark.slow
def test_without_a_name_it_flies_what_it_always_did(fly: Callable[..., Any]) -> None:
    _, result, _ = fly()
    assert result["controller"] == "pd-trim+guard"
    assert result["controller_gains"] == {"Lambda_1_s": 3.0, "K_v_over_m_1_s": 3.0, "Gamma_1_s": 1.5}
    chosen = choose_controller(None, VEHICLE, None, None, guard=False)
    before, now = Controller(VEHICLE), chosen.controller
    np.testing.assert_array_equal(before.tracking.gains.Lambda, now.tracking.gains.Lambda)
    np.testing.assert_array_equal(before.tracking.gains.K_v, now.tracking.gains.K_v)
    assert before.tracking.gains.Gamma == now.tracking.gains.Gamma


def test_what_cannot_be_flown_is_refused_in_one_line(fly: Callable[..., Any], tmp_path: Path, own: None) -> None:
    path = tuned(tmp_path, pd={"Lambda_1_s": 4.0, "K_v_over_m_1_s": 5.0})
    for options, words in (
        (["--controller", "pid"], "controller 'pid' is not known; use any of: pd, pd-trim"),
        (["--controller", "oracle"], "controller 'oracle' is not known"),
        (["--controller", "neural-lander-trim"], "needs a bundle"),
        (["--controller", "pd+guard", "--no-guard"], "contradict each other"),
        (["--controller", "l1", "--tuned", str(path)], "holds no gains of 'l1' (it has: pd)"),
        (["--controller", "pd", "--tuned", str(tmp_path / "no")], "cannot be read"),
        (["--controller", "own_flight_laws:stiff", "--tuned", str(path)], "brings its own"),
        (["--controller", "own_flight_laws:Law"], "gives rotor speeds"),
    ):
        code, error, _ = fly(*options)
        assert code == 2 and words in error and error.count("\n") == 1, options


def test_the_screen_shows_the_controller_and_when_the_guard_acts() -> None:
    from rich.console import Console

    def shown(guidance: Guidance, **changes: Any) -> str:
        loop = FlightLoop(FakeLink(VEHICLE), guidance, Rangefinder())
        record = loop.tick(1.0)
        vars(record).update(changes)
        console = Console(width=150, record=True, file=io.StringIO())
        console.print(table(record, Session(loop, SimulatedClock(), Wishes()), None))
        return console.export_text()

    def guided(controller: Controller | Guarded) -> Guidance:
        return Guidance(controller, FlightPlan(VEHICLE), name="L1 adaptive")

    assert "L1 adaptive" in (text := shown(guided(Controller(VEHICLE)))) and "without a guard" in text
    assert "the guard lets it pass" in shown(guided(Guarded(Controller(VEHICLE))))
    acting = shown(guided(Guarded(Controller(VEHICLE))), guard_force=np.array([0.0, 0.0, 2.5]))
    assert "the guard adds" in acting and "+2.500 N" in acting


@pytest.mark.slow
def test_a_state_without_an_accelerometer_does_not_stop_an_adapted_network() -> None:
    link = without_accelerometer(FakeLink(VEHICLE, ground_effect=lift))
    controller = build_controller(CONTROLLERS["neural-lander-adaptive"], VEHICLE, NETWORK)
    f = Flight(link, FlightLoop(link, Guidance(controller, FlightPlan(VEHICLE)), Rangefinder(), permission=ALL))
    f.fly(30.0)
    assert Phase.LANDED in f.phases
