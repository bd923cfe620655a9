"use strict";
// Flights side by side in three dimensions, on one time base: plain canvas, so that the page needs no further library.
const NEAR = 0.55, FAR = 1.6; // m, half of what the view spans
const ARROW = 0.3; // m: length of an arrow as long as the weight
const RESIDUAL = 4; // times longer are the arrows of the residual force, which is small against the weight

function replay(place, data) {
  const flights = data.flights, keys = Object.keys(flights);
  const end = Math.max(...keys.map((k) => flights[k].t.at(-1)));
  const view = { azimuth: 0.6, elevation: 0.22, half: NEAR, t: Math.min(data.begin, end), playing: false, speed: 1 };
  place.insertAdjacentHTML("beforeend",
    `<div class="panes">${[0, 1].map(() => '<div class="pane"><select aria-label="Controller"></select><canvas></canvas><p></p></div>').join("")}</div>
     <div class="controls"><button type="button">Play</button><input type="range" aria-label="Time" min="0" max="${end}" step="0.01">
     <output></output><label>Speed <select><option>1</option><option>0.5</option><option>0.25</option></select></label>
     <label><input type="checkbox"> whole flight</label></div>`);
  const panes = [...place.querySelectorAll(".pane")];
  const [button, scrub, clock] = ["button", "input[type=range]", "output"].map((s) => place.querySelector(s));
  panes.forEach((pane, side) => {
    const choice = pane.querySelector("select");
    for (const key of keys) choice.add(new Option(flights[key].label, key));
    choice.value = side ? data.right : data.left;
    choice.onchange = draw;
    const canvas = pane.querySelector("canvas");
    canvas.onpointerdown = (e) => canvas.setPointerCapture(e.pointerId);
    canvas.onpointermove = (e) => {
      if (!e.buttons) return;
      view.azimuth -= e.movementX / 120; // both panes turn: they show one scene
      if (e.pointerType === "mouse") view.elevation = Math.min(1.5, Math.max(0.02, view.elevation + e.movementY / 200));
      draw();
    };
  });
  button.onclick = () => {
    view.playing = !view.playing;
    if (view.playing && view.t >= end) view.t = 0;
    view.last = performance.now();
    tick();
  };
  scrub.oninput = () => { view.t = Number(scrub.value); draw(); };
  place.querySelector(".controls select").onchange = (e) => { view.speed = Number(e.target.value); };
  place.querySelector("input[type=checkbox]").onchange = (e) => { view.half = e.target.checked ? FAR : NEAR; draw(); };

  function tick() {
    button.textContent = view.playing ? "Pause" : "Play";
    if (!view.playing) return;
    const now = performance.now();
    view.t = Math.min(end, view.t + (view.speed * (now - view.last)) / 1000);
    view.last = now;
    view.playing = view.t < end;
    draw();
    requestAnimationFrame(tick);
  }

  function draw() {
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    scrub.value = view.t;
    clock.textContent = `${view.t.toFixed(2)} s`;
    for (const pane of panes) {
      const key = pane.querySelector("select").value, flight = flights[key], now = at(flight, view.t);
      scene(pane.querySelector("canvas"), data, flight, now, view, colour);
      const over = view.t > flight.t.at(-1) + 0.1;
      pane.querySelector("p").innerHTML =
        `gear <b>${millimetres(now.height)}</b> above the ground, reference ${millimetres(now.aim)}` +
        `<br>${over ? (data.lands ? "landed, motors off" : "over") : `thrust ${now.thrust.toFixed(1)} N, residual ${now.residual[2].toFixed(2)} N`}`;
    }
  }
  new ResizeObserver(draw).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}

function millimetres(metres) {
  return `${Math.round(1000 * metres) || 0} mm`; // never -0
}

// Everything of a flight at time t, between two samples on the straight line.
function at(flight, t) {
  const times = flight.t, n = times.length;
  let k = 0;
  while (k < n - 2 && times[k + 1] <= t) k++;
  const s = Math.min(1, Math.max(0, (t - times[k]) / (times[k + 1] - times[k])));
  const mix = (a, b) => (Array.isArray(a) ? a.map((v, i) => v + s * (b[i] - v)) : a + s * (b - a));
  const get = (name) => mix(flight[name][k], flight[name][k + 1]);
  const position = get("position_m"), reference = get("reference_m"), height = get("height_m");
  const corners = flight.ground_z_m, ground = corners.length > 1 ? mix(corners[k], corners[k + 1]) : corners[0];
  return { k, position, reference, height, ground, q: get("attitude_wxyz"), thrust: get("thrust_N"), residual: get("f_a_N"),
    aim: height - position[2] + reference[2] };
}

function rotate([w, x, y, z], [a, b, c]) { // Hamilton quaternion, body to world
  const n = Math.hypot(w, x, y, z), [W, X, Y, Z] = [w / n, x / n, y / n, z / n];
  const u = 2 * (Y * c - Z * b), v = 2 * (Z * a - X * c), q = 2 * (X * b - Y * a);
  return [a + W * u + Y * q - Z * v, b + W * v + Z * u - X * q, c + W * q + X * v - Y * u];
}

function scene(canvas, data, flight, now, view, colour) {
  const width = canvas.clientWidth, height = canvas.clientHeight, dense = devicePixelRatio || 1;
  canvas.width = width * dense;
  canvas.height = height * dense;
  const c = canvas.getContext("2d");
  c.scale(dense, dense);
  c.lineJoin = c.lineCap = "round";
  const floor = now.ground.reduce((a, b) => a + b) / 4, middle = view.half === NEAR && !data.lands ? now.reference : data.centre;
  const target = [middle[0], middle[1], floor + 0.42 * view.half];
  const [ca, sa, ce, se] = [Math.cos(view.azimuth), Math.sin(view.azimuth), Math.cos(view.elevation), Math.sin(view.elevation)];
  const away = 4 * view.half, scale = (0.5 * Math.min(width, 1.25 * height)) / view.half;
  const seen = ([x, y, z]) => {
    const [dx, dy, dz] = [x - target[0], y - target[1], z - target[2]];
    const side = -sa * dx + ca * dy, front = ca * dx + sa * dy, up = ce * dz - se * front, near = ce * front + se * dz;
    const p = (scale * away) / Math.max(away - near, 0.1 * away);
    return [width / 2 + p * side, height / 2 - p * up];
  };
  const path = (points) => {
    c.beginPath();
    points.forEach((p, i) => c[i ? "lineTo" : "moveTo"](...seen(p)));
  };
  const line = (points, stroke, w = 1, dash = []) => {
    path(points);
    c.setLineDash(dash);
    c.strokeStyle = stroke;
    c.lineWidth = w;
    c.stroke();
    c.setLineDash([]);
  };
  // ground: the floor's grid, and what stands on it
  const grid = colour("--rule"), reach = 1.4;
  for (let g = -7; g <= 7; g++) {
    const v = (reach * g) / 7;
    line([[v, -reach, 0], [v, reach, 0]], grid, 0.7);
    line([[-reach, v, 0], [reach, v, 0]], grid, 0.7);
  }
  const h = data.half_m, top = [[-h, -h], [h, -h], [h, h], [-h, h]].map(([x, y], i) => [x, y, now.ground[i]]);
  if (now.ground.some((z) => Math.abs(z) > 1e-3)) {
    top.forEach((p, i) => { const q = top[(i + 1) % 4]; line([p, [p[0], p[1], 0], [q[0], q[1], 0], q], grid); });
    path(top);
    c.closePath();
    c.fillStyle = colour("--band");
    c.fill();
    line([...top, top[0]], colour("--muted"), 1.2);
  }
  // where it should be and where it has been
  line(flight.reference_m, colour("--muted"), 1.2, [2, 5]);
  line([...flight.position_m.slice(0, now.k + 1), now.position], flight.colour, 1.5);
  const under = [now.position[0], now.position[1], now.position[2] - data.clearance_m - now.height];
  line([under, now.position], colour("--grid"), 1);
  const body = (p) => { const r = rotate(now.q, p); return r.map((v, i) => v + now.position[i]); };
  const ring = (at, radius) => [...Array(25).keys()].map((i) => {
    const a = (i * Math.PI) / 12;
    return [at[0] + radius * Math.cos(a), at[1] + radius * Math.sin(a), at[2]];
  });
  // its shadow, the vehicle, and where the reference is
  for (const rotor of data.rotors_m) {
    path(ring(rotor, data.radius_m).map(body).map(([x, y]) => [x, y, under[2]]));
    c.fillStyle = colour("--grid");
    c.fill();
  }
  const aim = now.reference, cross = 0.05;
  for (const axis of [0, 1, 2]) {
    line([-cross, cross].map((d) => aim.map((v, i) => v + (i === axis ? d : 0))), colour("--ink"), 1.5);
  }
  for (const rotor of data.rotors_m) {
    line([body([0, 0, 0]), body(rotor)], colour("--ink"), 3);
    line(ring(rotor, data.radius_m).map(body), flight.colour, 2);
  }
  for (const foot of data.gear_m) line([body([foot[0] / 2, foot[1] / 2, 0]), body(foot)], colour("--muted"), 2);
  const off = flight.t.at(-1) + 0.1 < view.t && data.lands, up = rotate(now.q, [0, 0, 1]);
  const arrow = (vector, stroke) => {
    const tip = vector.map((v, i) => v + now.position[i]), [x, y] = seen(tip), [x0, y0] = seen(now.position);
    if (Math.hypot(x - x0, y - y0) < 4) return;
    line([now.position, tip], stroke, 2.5);
    const turn = Math.atan2(y - y0, x - x0);
    c.beginPath();
    c.moveTo(x, y);
    for (const side of [2.6, -2.6]) c.lineTo(x + 8 * Math.cos(turn + side), y + 8 * Math.sin(turn + side));
    c.fillStyle = stroke;
    c.fill();
  };
  if (!off) {
    arrow(up.map((v) => (ARROW * v * now.thrust) / data.weight_N), colour("--muted"));
    arrow(now.residual.map((v) => (RESIDUAL * ARROW * v) / data.weight_N), colour("--bad"));
  }
}

for (const place of document.querySelectorAll(".replay")) {
  replay(place, JSON.parse(place.querySelector("script").textContent));
}
