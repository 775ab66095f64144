// Curves of trainings, the details of one artifact, and what differs between two.
const HUES = 8, MOST_CURVES = 60;
const nice = (span, about) => {
  const raw = span / about, power = 10 ** Math.floor(Math.log10(raw)), part = raw / power;
  return power * (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10);
};

function ticks(low, high, about) {
  const step = nice(high - low || 1, about), found = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) found.push(Number(tick.toPrecision(12)));
  return found;
}

function curves(rows) {
  const inside = new Set(rows), { curves: all, left_out: lost } = rest("curves");
  const own = all.filter((curve) => inside.has(curve.row));
  const names = [...new Set(own.flatMap((curve) => Object.keys(curve.values)))];
  if (!names.length) return make("p", {}, "No training here has a finished epoch.");
  if (!names.includes(state.curve)) state.curve = names.find((name) => name === "val_loss") ?? names.find((name) => name === "train_loss") ?? names[0];
  const with_ = own.filter((curve) => curve.values[state.curve]);
  curveLabels = new Map(titles(with_.map((curve) => [bareName(curve.row), groupWords(curve.row)])).map((label, place) => [with_[place].row, label]));
  const drawn = with_.slice(0, MOST_CURVES), labels = [...new Set(drawn.map(labelOf))];
  const running = drawn.filter((curve) => stateOf(curve.row) === "running").length;
  const figure = chart(drawn, labels);
  const legend = make("ul", { className: "legend" }, ...labels.map((label, place) => {
    const button = make("button", { type: "button", className: "seed", ariaPressed: String(state.lit === label) }, make("span", { className: `swatch hue-${place % HUES}` }), label);
    button.dataset.focus = `lit ${label}`;
    button.addEventListener("click", () => { state.lit = state.lit === label ? "" : label; render(); });
    return make("li", {}, button);
  }));
  const notes = [`${drawn.length} of ${with_.length} trainings`, running ? `${running} of them under way` : "", drawn.length < with_.length ? "filter to see others" : "",
    lost ? `the page leaves out the curves of ${lost} older ones` : ""].filter(Boolean).join("; ");
  const last = (curve) => curve.values[state.curve].findLast((value) => value !== null) ?? null;
  const columns = [
    plain("training", (curve) => detailButton(curve.row), (curve) => nameOf(curve.row), { head: true }),
    plain("group", labelOf), plain("seed", seedOf), plain("state", (curve) => chip(curve.row), (curve) => stateOf(curve.row)),
    numeric("epochs", (curve) => curve.epochs.at(-1)), numeric(`last ${state.curve}`, last),
  ];
  return make("div", {}, make("div", { className: "tools" }, select("Curve of", "curve", names.map((name) => [name, name]))),
    make("figure", { ariaLabel: `Curves of ${state.curve}` }, figure, make("figcaption", {}, `${state.curve} after each epoch: ${notes}. The table below has the last value of each.`)),
    legend, table("curves", "Trainings and their last values.", columns, with_));
}

let curveLabels = new Map();
const labelOf = (curve) => curveLabels.get(curve.row) ?? bareName(curve.row);
const seedOf = (curve) => curve.name || wordsOf(curve.row).filter(([name, value]) => isSeed(name, value)).map(([, value]) => value)[0] || "–";

function chart(drawn, labels) {
  const width = Math.max(320, Math.min(1000, document.getElementById("view").clientWidth - 4)), height = Math.round(Math.min(400, width * 0.6));
  const box = { left: 58, right: 12, top: 10, bottom: 40 };
  const ys = drawn.flatMap((curve) => curve.values[state.curve].filter((value) => value !== null)), xs = drawn.flatMap((curve) => curve.epochs);
  const [x0, x1] = extremes(xs), [y0, y1] = extremes(ys), pad = (y1 - y0 || Math.abs(y1) || 1) * 0.05;
  const [low, high] = [y0 - pad, y1 + pad];
  const across = (x) => box.left + (width - box.left - box.right) * (x1 > x0 ? (x - x0) / (x1 - x0) : 0.5);
  const up = (y) => height - box.bottom - (height - box.top - box.bottom) * (y - low) / (high - low);
  const node = make("svg:svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": `${state.curve} by epoch of ${drawn.length} trainings` });
  for (const tick of ticks(low, high, 5)) node.append(make("svg:line", { class: "grid", x1: box.left, x2: width - box.right, y1: up(tick), y2: up(tick) }),
    make("svg:text", { x: box.left - 8, y: up(tick) + 4, "text-anchor": "end" }, shown(tick)));
  for (const tick of ticks(x0, x1, Math.max(2, width / 120)).filter(Number.isInteger)) node.append(make("svg:text", { x: across(tick), y: height - box.bottom + 18, "text-anchor": "middle" }, shown(tick)));
  node.append(make("svg:text", { x: (box.left + width) / 2, y: height - 6, "text-anchor": "middle" }, "epoch"));
  const points = [];
  for (const curve of drawn) {
    const label = labelOf(curve), hue = labels.indexOf(label) % HUES, out = state.lit && state.lit !== label ? " out" : "";
    const own = curve.epochs.map((epoch, place) => [epoch, curve.values[state.curve][place]]).filter(([, value]) => value !== null);
    if (!own.length) continue;
    own.forEach(([epoch, value]) => points.push([across(epoch), up(value), `${label}, seed ${seedOf(curve)}: epoch ${epoch}, ${state.curve} ${shown(value)}`]));
    const path = own.map(([epoch, value], place) => `${place ? "L" : "M"}${across(epoch).toFixed(1)} ${up(value).toFixed(1)}`).join("");
    node.append(make("svg:path", { d: path, class: `line stroke-${hue}${out}` }));
    const [epoch, value] = own.at(-1), moving = stateOf(curve.row) === "running";
    if (moving || own.length === 1) node.append(make("svg:circle", { cx: across(epoch), cy: up(value), r: moving ? 4.5 : 3, class: `fill-${hue}${out}` }));
  }
  const value = make("output", { className: "value", hidden: true });
  node.addEventListener("pointermove", (event) => {
    const frame = node.getBoundingClientRect(), scale = frame.width / width;
    const [x, y] = [(event.clientX - frame.left) / scale, (event.clientY - frame.top) / scale];
    const near = points.reduce((best, point) => { const far = (point[0] - x) ** 2 + (point[1] - y) ** 2; return far < best[0] ? [far, point] : best; }, [900, null])[1];
    value.hidden = !near;
    if (near) { value.textContent = near[2]; value.style.left = `${Math.min(near[0] * scale + 8, frame.width * 0.55)}px`; value.style.top = `${near[1] * scale - 8}px`; }
  });
  node.addEventListener("pointerleave", () => { value.hidden = true; });
  return make("div", { className: "drawn" }, node, value);
}

// Settings of an artifact and of what it rests on, its own last.
function ownSettings(row) {
  const { common, settings } = rest("details"), found = new Map(), base = common[stageOf(row)] ?? [];
  for (const pairs of [base, settings[row]]) for (let place = 0; place < pairs.length; place += 2) {
    if (pairs[place + 1] < 0) found.delete(pairs[place]); else found.set(pairs[place], pairs[place + 1]);
  }
  return found;
}

function allSettings(row) {
  const { names, values, upstream } = rest("details"), found = new Map();
  for (const one of upstream[row]) for (const [name, value] of allSettings(one)) found.set(name, value);
  for (const [name, value] of ownSettings(row)) found.set(names[name], values[value]);
  return found;
}

function numbersOf(row) {
  const own = data.numbers[data.rows.stage[row]];
  return new Map(own.names.map((name, place) => [name, own.columns[place][at[row]]]).filter(([, value]) => value !== null));
}

function differences(one, other) {
  const details = rest("details"), found = [], text = (value) => (value === undefined ? "–" : String(value));
  const both = (a, b) => (a === undefined || b === undefined || digits(a) === digits(b) ? [text(a), text(b)] : [digits(a), digits(b)]);
  const pair = (what, name, a, b) => { if (text(a) !== text(b)) found.push([what, name, ...both(a, b), typeof a === "number" && typeof b === "number" ? b - a : null]); };
  const pairs = (what, a, b) => { for (const name of new Set([...a.keys(), ...b.keys()])) pair(what, name, a.get(name), b.get(name)); };
  pair("stage", "", stageOf(one), stageOf(other));
  pair("version", "", String(details.version[one]), String(details.version[other]));
  pairs("setting", allSettings(one), allSettings(other));
  const inputs = (row) => new Map(Object.entries(JSON.parse(details.texts[details.inputs[row]])));
  pairs("input", inputs(one), inputs(other));
  pairs("number", numbersOf(one), numbersOf(other));
  pair("files", "digest of all", details.payload[one], details.payload[other]);
  pair("commit", "", details.texts[details.commit[one]], details.texts[details.commit[other]]);
  pair("host", "", details.texts[details.host[one]], details.texts[details.host[other]]);
  return found;
}

let whole = { keys: "", rows: null };
function compare() {
  const field = (label, name) => {
    const input = make("input", { type: "text", value: state[name], size: 14, autocomplete: "off", spellcheck: false });
    input.dataset.focus = `key ${name}`;
    input.addEventListener("change", () => { state[name] = input.value.trim().toLowerCase(); render(); });
    return make("label", {}, `${label} `, input);
  };
  const form = make("div", { className: "tools" }, field("First key", "first"), field("Second key", "second"));
  const ends = ["first", "second"].map((name) => data.rows.key.flatMap((key, row) => (state[name] && key.startsWith(state[name]) && stateOf(row) === "done" ? [row] : [])));
  const wrong = ends.map((found, place) => (found.length === 1 ? "" : !state[place ? "second" : "first"] ? "" :
    `${found.length ? `${found.length} finished artifacts have keys that begin` : "No finished artifact here has a key that begins"} with ${state[place ? "second" : "first"]}.`)).filter(Boolean);
  if (ends.some((found) => found.length !== 1)) return make("div", {}, form, ...wrong.map((text) => make("p", {}, text)),
    make("p", { className: "soft" }, "Tick two artifacts under Runs, or type the first digits of two keys."));
  const [one, other] = ends.map((found) => found[0]), keys = `${data.rows.key[one]} ${data.rows.key[other]}`;
  const rows = whole.keys === keys && whole.rows ? whole.rows : differences(one, other);
  if (data.live && whole.keys !== keys) {
    whole = { keys, rows: null };
    fetch(`differences.json?first=${data.rows.key[one]}&second=${data.rows.key[other]}`).then((found) => (found.ok ? found.json() : null))
      .then((found) => { if (found && whole.keys === keys) { whole.rows = found; render(); } }).catch(() => {});
  }
  const labels = (row) => said(wordsOf(row).filter(([name]) => data.rows.names.indexOf(name) < data.rows.axes));
  const about = (row) => make("p", {}, detailButton(row), ` ${[stageOf(row), labels(row), `made ${moment(data.rows.made[row])}`].filter(Boolean).join(", ")}`);
  const columns = [plain("what", (row) => row[0], undefined, { head: true }), plain("name", (row) => row[1]), plain("first", (row) => row[2], undefined, { long: true }), plain("second", (row) => row[3], undefined, { long: true }),
    numeric("change", (row) => row[4])];
  return make("div", {}, form, about(one), about(other),
    rows.length ? table("compare", `What differs: ${rows.length} ${rows.length === 1 ? "line" : "lines"}. Everything else is equal.`, columns, rows) : make("p", {}, "Nothing differs: settings, inputs, numbers and files are equal."),
    whole.keys === keys && whole.rows ? null : make("p", { className: "soft" }, "Numbers in large tables, and the digest of each file, are listed by:"),
    whole.keys === keys && whole.rows ? null : command(`python run.py stage=diff 'between=[${data.rows.key[one]},${data.rows.key[other]}]'`));
}

function detail(row) {
  const dialog = document.getElementById("detail"), details = rest("details"), asked = document.activeElement?.dataset?.focus;
  const close = make("button", { type: "button", className: "close" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const list = (title, pairs, open) => (pairs.length ? make("details", { open }, make("summary", {}, `${title} (${pairs.length})`),
    make("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: title }, make("table", {}, make("tbody", {}, ...pairs.map(([name, value]) =>
      make("tr", {}, make("th", { scope: "row", className: "word" }, name), make("td", { className: "word long" }, value)))))) ) : null);
  const text = details.texts[details.command[row]], note = data.notes[row] ?? data.rows.problem[row];
  const facts = [["stage", stageOf(row)], ["studies", studiesOf(row).join(", ") || "none"], ["made", moment(data.rows.made[row])],
    ["size", bytes(data.rows.bytes[row])], ["commit", details.texts[details.commit[row]] || "–"], ["host", details.texts[details.host[row]] || "–"]];
  dialog.replaceChildren(close, make("h2", { id: "detail-title" }, nameOf(row)), make("p", {}, chip(row), note ? ` ${note}` : ""),
    make("dl", { className: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    make("p", {}, files(row)), text ? make("p", { className: "soft" }, "The command that makes it:") : null, text ? command(text) : null,
    list("Numbers", [...numbersOf(row)].map(([name, value]) => [name, digits(value)]), true), list("Settings", [...allSettings(row)].sort()));
  dialog.onclose = () => { if (asked) document.querySelector(`[data-focus="${CSS.escape(asked)}"]`)?.focus(); };
  dialog.showModal();
}
