"""Nothing flies without a certificate that matches; the override flies it and is written into every log."""

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_link import FakeLink, SimulatedClock
from learning_flights import flight
from test_bundle import resealed
from test_certificate_check import Forgery

import neural_lander.cli.fly_run as fly_module
from firmware_bridge.guidance.flight_plan import FlightPlan
from firmware_bridge.guidance.guidance import Guidance
from neural_lander.bundle import Bundle, load_bundle, load_for_research, replace_certificate, save_bundle
from neural_lander.certificate import check
from neural_lander.certificate.contraction import contraction_factor
from neural_lander.certificate.document import certify
from neural_lander.certificate.evidence import Slope, ThrustRange, contracting_range, product_slopes
from neural_lander.cli.fly_controller import choose_controller
from neural_lander.cli.main import main
from neural_lander.control.adaptation import LastLayerAdaptation
from neural_lander.control.controller import Controller
from neural_lander.errors import UserError
from neural_lander.flightlog import read_log, write_mcap
from neural_lander.residual.domain import FadingResidual
from neural_lander.residual.model import ReluNetwork, WithinThrusts
from neural_lander.residual.norms import network_bounds
from neural_lander.residual.options import TrainingOptions
from neural_lander.residual.training import train_residual
from neural_lander.state import State
from neural_lander.vehicle import load_vehicle
from sim.controllers import build_controller, controller_named
from sim.landing import fly_once
from sim.plant import Copy, Plant
from sim.scenarios import scenario_named

VEHICLE = load_vehicle("intel-aero")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = TrainingOptions(hidden=(6, 5), epochs=2, held_out=0.0)
    path = tmp_path_factory.mktemp("bundle") / "B"
    save_bundle(path, train_residual([flight(VEHICLE, 12.0, seed=0)], VEHICLE, options))
    return path


def without_certificate(certified: Path, folder: Path, what: str) -> Path:
    """The bundle with a certificate that lets it not fly, in one of the ways there are."""
    for file in certified.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    document = json.loads((folder / "certificate.json").read_text())
    if what == "changed":
        (folder / "certificate.json").write_text("{}")
    elif what == "false":
        document["entries"]["contraction_factor"]["value"] /= 2
        sealed(folder, document)
    elif what == "older":
        document["format_version"] -= 1
        sealed(folder, document)
    else:
        network = load_bundle(folder).model
        loose = {name: Slope(1000 * slope.bound) for name, slope in product_slopes(network, VEHICLE).items()}
        replace_certificate(folder, certify(network, VEHICLE, loose))
    return folder


def sealed(folder: Path, document: dict[str, Any]) -> None:
    (folder / "certificate.json").write_text(json.dumps(document))
    resealed(folder)


WAYS = ("changed", "false", "older", "does not contract")


@pytest.mark.parametrize("what", WAYS)
def test_such_a_bundle_flies_by_the_override_alone(certified: Path, tmp_path: Path, what: str) -> None:
    path = without_certificate(certified, tmp_path, what)
    if what == "does not contract":  # it is read, as what it is
        with pytest.raises(UserError, match="must not fly.*not shown to contract"):
            _ = load_bundle(path).learned
    else:
        with pytest.raises(UserError, match="certificate"):
            load_bundle(path)
    bundle = load_for_research(path)
    assert bundle.uncertified
    learned = bundle.learned
    assert learned.uncertified == bundle.uncertified
    assert 0 < learned.contraction_factor < 1
    assert learned.iterations is None


def test_a_certified_bundle_is_no_less_certified_when_loaded_for_research(certified: Path) -> None:
    bundle = load_for_research(certified)
    assert bundle.uncertified == ""
    assert bundle.learned.contraction_factor == load_bundle(certified).contraction_factor


def test_controllers_use_the_count_of_the_certificate(certified: Path) -> None:
    bundle = load_bundle(certified)
    count = bundle.certificate["entries"]["iterations_to_tolerance"]["value"]
    kind, plant = controller_named("neural-lander-trim"), Plant(VEHICLE)
    assert build_controller(kind, plant, bundle.learned).iterations == count
    chosen = choose_controller(None, VEHICLE, bundle, None, guard=True)
    assert Guidance(chosen.controller, FlightPlan(VEHICLE)).controller.iterations == count


def test_a_controller_takes_no_network_without_a_certificate_that_matches(certified: Path) -> None:
    """Given in Python too: what a bundle's check found goes with its network, and with no other."""
    bundle = load_bundle(certified)
    model, factor = bundle.model, bundle.contraction_factor
    for flies in (bundle.flying, model, WithinThrusts(model, 0.1, 1.0), FadingResidual(model, bundle.domain)):
        assert Controller(VEHICLE, flies, contraction_factor=factor).uncertified == ""
    bare = replace(model, certified=None)
    steeper = replace(model, weights=(*model.weights[:-1], 2 * model.weights[-1]))
    narrow = replace(model, certified=replace(model.certified, low=0.5, high=5.0))
    heavier = VEHICLE.with_(mass=2 * VEHICLE.mass)
    for refused, vehicle, reckoned, why in (
        (bare, VEHICLE, factor, "no certificate"),
        (FadingResidual(WithinThrusts(bare, 0.0, 1.0), bundle.domain), VEHICLE, factor, "no certificate"),
        (LastLayerAdaptation(VEHICLE, bare, np.ones(3)), VEHICLE, factor, "no certificate"),
        (steeper, VEHICLE, factor, "no certificate"),
        (model, heavier, factor, "another vehicle"),
        (model, VEHICLE, 0.9 * factor, "below the proved"),
        (narrow, VEHICLE, factor, "from 0.5 to 5 N alone"),
        (WithinThrusts(narrow, 0.4, 5.0), VEHICLE, factor, "from 0.5 to 5 N alone"),
    ):
        with pytest.raises(UserError, match=f"must not fly.*{why}"):
            Controller(vehicle, refused, contraction_factor=reckoned)
        research = Controller(vehicle, refused, contraction_factor=reckoned, uncertified="a study")
        assert research.uncertified == "a study"
    Controller(VEHICLE, WithinThrusts(narrow, 0.5, 5.0), contraction_factor=factor)
    with pytest.raises(UserError, match="must not fly"):
        Guidance(Controller(VEHICLE, bare), FlightPlan(VEHICLE))


def test_a_controller_makes_no_fewer_passes_than_the_certificate_counts(certified: Path) -> None:
    bundle = load_bundle(certified)
    factor, count = bundle.contraction_factor, bundle.iterations
    assert count is not None and count > 1
    for iterations in (count, count + 5, None):
        assert Controller(VEHICLE, bundle.flying, contraction_factor=factor, iterations=iterations).uncertified == ""
    with pytest.raises(UserError, match=f"must not fly: {count - 1} iterations are fewer than the {count}"):
        Controller(VEHICLE, bundle.flying, contraction_factor=factor, iterations=count - 1)


@pytest.mark.parametrize("kind", ["Law", "Estimate"])
def test_a_users_part_with_a_network_in_it_flies_by_its_word_alone(
    kind: str, certified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole law, or a force estimate, that subtracts what a network says which no certificate speaks of."""
    (tmp_path / "networked.py").write_text(
        "import numpy as np\nfrom neural_lander.bundle import load_uncertified, load_bundle\n"
        f"PATH = {str(certified)!r}\n"
        "class Law:\n"
        "    def __init__(self, vehicle): self.network = self.load()\n"
        "    def load(self): return load_uncertified(PATH)[0]\n"
        "    def reset(self, trim=None): self.d_hat = np.zeros(3)\n"
        "    def __call__(self, t, state, reference): return np.full(4, 600.0)\n"
        "class Estimate(Law):\n"
        "    def observe(self, t, state, rotor_thrust, f_a_hat): pass\n"
        "    def update(self, t, s, hold): pass\n"
        "    d_hat = np.zeros(3)\n"
        "class AllTheSameLaw(Law): uncertified = 'a test'\n"
        "class AllTheSameEstimate(Estimate): uncertified = 'a test'\n"
        "class CertifiedLaw(Law):\n"
        "    def load(self): return load_bundle(PATH).flying\n"
        "class CertifiedEstimate(Estimate):\n"
        "    def load(self): return load_bundle(PATH).flying\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="must not fly: no certificate of this network"):
        build_controller(controller_named(f"networked:{kind}"), Plant(VEHICLE), None)
    assert build_controller(controller_named(f"networked:Certified{kind}"), Plant(VEHICLE), None).uncertified == ""
    assert (
        build_controller(controller_named(f"networked:AllTheSame{kind}"), Plant(VEHICLE), None).uncertified == "a test"
    )


def test_an_adapted_network_needs_the_factor_of_the_product(certified: Path) -> None:
    """A last layer that moves is bounded by norms alone; the smaller factor of LipSDP speaks of the one that was."""
    bundle = load_bundle(certified)
    assert bundle.model.certified is not None
    tight = replace(bundle.model.certified, contraction_factor=0.5 * bundle.contraction_factor)
    network = replace(bundle.model, certified=tight)  # as if LipSDP had proved half of what the norms do
    gains = Controller(VEHICLE).tracking.gains
    adaptation = LastLayerAdaptation(VEHICLE, network, gains.K_v)
    product = contraction_factor(network_bounds(network), VEHICLE)
    Controller(VEHICLE, network, contraction_factor=tight.contraction_factor)
    Controller(VEHICLE, adaptation, contraction_factor=product, estimate=adaptation)
    with pytest.raises(UserError, match="is below the proved"):
        Controller(VEHICLE, adaptation, contraction_factor=0.99 * product, estimate=adaptation)


def test_the_weights_of_a_network_are_not_changed_in_place(certified: Path) -> None:
    model = load_bundle(certified).model
    for values in (*model.weights, *model.biases, model.state_low, model.state_high):
        with pytest.raises(ValueError, match="read-only"):
            values *= 100
    mine = np.ones(6, np.float32)
    kept = replace(model, state_high=mine)
    mine *= 2
    assert np.all(kept.state_high == 1)


class Held:
    """A user's model that holds a network in some place of its own."""

    def __init__(self, place: Callable[[ReluNetwork], Any], network: ReluNetwork) -> None:
        self.net, self.itself = place(network), self

    def at(self, state: State) -> Any:
        raise NotImplementedError


class Slotted:
    __slots__ = ("_net",)

    def __init__(self, network: ReluNetwork) -> None:
        self._net = network

    def at(self, state: State) -> Any:
        return self._net.at(state)


class Private:
    __slots__ = ("__net",)

    def __init__(self, network: ReluNetwork) -> None:
        self.__net = network


@pytest.mark.parametrize(
    "place",
    [
        lambda network: network,
        lambda network: [{"best": (network,)}],
        Slotted,
        lambda network: network.at,
        Private,
        lambda network: deque([network]),
        lambda network: np.array([network], dtype=object),
        lambda network: partial(ReluNetwork.at, network),
        lambda network: lambda state, thrust: network.at(state)(thrust),
        lambda network: lambda state, best=network: best.at(state),
    ],
)
def test_a_network_is_found_wherever_it_is_kept(certified: Path, place: Callable[[ReluNetwork], Any]) -> None:
    bundle = load_bundle(certified)
    model, factor = bundle.model, bundle.contraction_factor
    bare = replace(model, certified=None)
    held = Held(place, model)
    assert Controller(VEHICLE, held, contraction_factor=factor).uncertified == ""
    for two in (Held(place, bare), WithinThrusts(Held(place, bare), 0.5, 5.0)):
        with pytest.raises(UserError, match="must not fly.*no certificate"):
            Controller(VEHICLE, two, contraction_factor=factor)
    both = Held(lambda network: [network, place(bare)], model)
    with pytest.raises(UserError, match="must not fly.*no certificate"):
        Controller(VEHICLE, both, contraction_factor=factor)
    narrow = replace(model, certified=replace(model.certified, low=0.5, high=5.0))
    assert Controller(VEHICLE, WithinThrusts(Held(place, narrow), 0.5, 5.0), contraction_factor=factor)
    with pytest.raises(UserError, match="from 0.5 to 5 N alone"):
        Controller(VEHICLE, Held(place, narrow), contraction_factor=factor)


def flown(bundle: Bundle, folder: Path, controller: str) -> dict[str, Any]:
    """Metadata of the log of a second of flight, read back from its file."""
    copy = Copy(Plant(VEHICLE), bundle.learned)
    task = scenario_named("hover-low")
    brief = replace(task, duration=1.0)
    with copy.plant.build() as world:
        log, *_ = fly_once(
            world, copy.plant, build_controller(controller_named(controller), copy.plant, copy.learned), brief, 1,
            np.zeros(3), {"mass_kg": VEHICLE.mass},
        )  # fmt: skip
    write_mcap(log, folder / "flight.mcap")
    return dict(read_log(folder / "flight.mcap").metadata)


@pytest.mark.slow
def test_every_log_of_a_simulated_flight_names_it(certified: Path, tmp_path: Path) -> None:
    path = tmp_path / "U"
    path.mkdir()
    bundle = load_for_research(without_certificate(certified, path, "false"))
    assert flown(bundle, tmp_path, "neural-lander")["uncertified"] == bundle.uncertified
    assert "uncertified" not in flown(bundle, tmp_path, "pd")  # no network in it
    assert "uncertified" not in flown(load_bundle(certified), tmp_path, "neural-lander")


@pytest.mark.slow
def test_compare_refuses_it_and_says_so_in_results_and_report_where_it_is_overridden(
    certified: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "U").mkdir()
    path = without_certificate(certified, tmp_path / "U", "false")
    options = ["compare", "--bundle", str(path), "--controllers", "pd,neural-lander", "-n", "1", "--workers", "1"]
    options += ["--scenario", "land-1d", "--out", str(tmp_path / "out")]
    assert main(options) == 2
    assert "is not true" in capsys.readouterr().err
    assert main([*options, "--uncertified"]) == 0
    assert "FLOWN WITHOUT A CERTIFICATE" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(results["uncertified"]) == 1 and "is not true" in results["uncertified"][0]
    html = (tmp_path / "out" / "report.html").read_text()
    assert html.index("FLOWN WITHOUT A CERTIFICATE") < html.index("<h2>")


def test_fly_refuses_it_and_writes_the_override_into_its_log(
    certified: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fly_module, "open_link", lambda *_, **__: FakeLink(VEHICLE, rotors=True))
    monkeypatch.setattr(fly_module, "MonotonicClock", SimulatedClock)
    (tmp_path / "U").mkdir()
    path, log = without_certificate(certified, tmp_path / "U", "false"), tmp_path / "flight.mcap"
    options = ["fly", "--link", "mavlink:nowhere", "--bundle", str(path), "--log", str(log), "--observe", "--json"]
    options += ["--duration", "5", "--rate", "100"]
    assert main(options) == 2
    assert "must not fly" in capsys.readouterr().err
    log = tmp_path / "research.mcap"
    assert main([*options, "--uncertified", "--log", str(log)]) == 0
    result = json.loads(capsys.readouterr().out)
    check = next(c for c in result["checks"] if c["name"] == "certificate")
    assert check["finding"].startswith("NONE, flown by the user's word")
    assert "is not true" in result["uncertified"]
    assert "is not true" in read_log(log).metadata["uncertified"]


def steep_above(kink: float) -> ReluNetwork:
    """f_a,z = -0.2 T in all, and 2 newtons per newton more of whatever rotor 1 gives beyond ``kink`` N."""
    W1 = np.zeros((2, 10), np.float32)
    W1[0, 6:], W1[1, 6] = 1.0, 1.0
    W2 = np.array([[0, 0], [0, 0], [-0.2, -8.0]], np.float32)
    wide = np.full(6, 9.0, np.float32)
    return ReluNetwork((W1, W2), (np.array([0, -kink], np.float32), np.zeros(3, np.float32)), "heading", -wide, wide)


@pytest.mark.slow
def test_a_network_that_contracts_in_a_part_of_the_range_is_flown_there_and_nowhere_else(
    certified: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neural_lander.certificate.steepest.ROUNDS", 5)
    kink = 0.75 * VEHICLE.weight / 4 + 0.25 * VEHICLE.thrust_coefficient * VEHICLE.u_max
    f, network = Forgery(certified), steep_above(kink)
    f.tensors = {"state_low": network.state_low, "state_high": network.state_high}
    for k in range(2):
        f.tensors[f"W{k}"], f.tensors[f"b{k}"] = network.weights[k], network.biases[k]
    for name, data in f.sealed().items():
        (tmp_path / name).write_bytes(data)
    assert main(["certify", str(tmp_path), "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    low, high = (entries[f"rotor_thrust_{end}"]["value"] for end in ("low", "high"))
    assert entries["contraction_factor"]["value"] == pytest.approx(0.2, rel=0.02)
    assert 0 <= low < VEHICLE.weight / 4 < 0.97 * kink < high <= kink
    bundle = load_bundle(tmp_path)
    zero = np.zeros(3)
    state = State(zero, zero, np.array([1.0, 0, 0, 0]), zero, np.array(1.0))
    within, beyond = bundle.flying.at(state)(np.full(4, high)), bundle.flying.at(state)(np.full(4, 2 * high))
    np.testing.assert_array_equal(within, beyond)
    assert main(["certify", str(certified), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)["entries"]
    assert (whole["rotor_thrust_low"]["value"], whole["rotor_thrust_high"]["value"]) == (
        0.0,
        pytest.approx(VEHICLE.thrust_coefficient * VEHICLE.u_max),
    )
    f = Forgery(tmp_path)  # a wider range than was proved
    f.entries["rotor_thrust_high"]["value"] = float(kink * 1.1)
    assert [p for p in check.problems(f.sealed()) if "contraction_factor" in p or "lipschitz" in p]


@pytest.mark.slow
def test_a_network_that_contracts_nowhere_near_hover_is_certified_as_that() -> None:
    assert contracting_range(steep_above(0.8 * VEHICLE.weight / 4), VEHICLE) is None
    found = contracting_range(steep_above(1.5 * VEHICLE.weight / 4), VEHICLE)
    assert isinstance(found, ThrustRange)
