// What the page holds, and which rows of it the filters let through.
const read = (name) => JSON.parse(document.getElementById(`data-${name}`).textContent);
const PAGE_ROWS = 100;
let data = read("main");
let more = {};
let at = [], numbered = [], texts = [], byKey = new Map(), repeated = new Set();
const state = {
  tab: "studies", query: "", study: "", stage: "", state: "", words: {}, group: "", quantity: "", curve: "",
  first: "", second: "", sorts: {}, pages: {}, columns: {}, lit: "",
};

function index() {
  at = []; texts = [];
  numbered = data.numbers.map((own) => {
    own.rows.forEach((row, place) => { at[row] = place; });
    return new Map(own.names.map((name, place) => [name, place]));
  });
  byKey = new Map(data.rows.key.map((key, row) => [key, row]));
  repeated = repeatedSettings();
}

// Settings of which the labels of a cell say all: where each combination of labels goes with one value.
function repeatedSettings() {
  const { names, words, axes, key } = data.rows, cells = key.map((_, row) => words.slice(0, axes).map((own) => own[row]).join());
  return new Set(names.slice(axes).filter((_, place) => {
    const values = new Map(), own = words[axes + place];
    return own.every((value, row) => {
      if (value < 0) return true;
      const known = values.get(cells[row]) ?? value;
      values.set(cells[row], value);
      return known === value && /\d/.test(cells[row].replaceAll("-1", ""));
    });
  }));
}

const rest = (name) => (more[name] ??= read(name));
const count = () => data.rows.key.length;
const stageOf = (row) => data.stages[data.rows.stage[row]];
const stateOf = (row) => data.states[data.rows.state[row]];
const studiesOf = (row) => data.rows.study[row].map((place) => data.rows.studies[place]);
const nameOf = (row) => `${data.rows.slug[row]}-${data.rows.key[row]}`;
const wordOf = (row, name) => {
  const place = data.rows.words[data.rows.names.indexOf(name)][row];
  return place < 0 ? "" : data.rows.labels[place];
};
const isSeed = (name, value) => name === "seed" || name === "cells.seed" || name.startsWith("seeds.")
  || value.startsWith("seed=") || value.startsWith("seeds.");

function wordsOf(row) {
  const found = [];
  data.rows.names.forEach((name, place) => {
    const value = data.rows.words[place][row];
    if (value >= 0) found.push([name, data.rows.labels[value]]);
  });
  return found;
}

// Words as people read them: an axis is named where its label is a bare number.
const said = (words) => words.map(([name, value]) =>
  (/^[-+\d.e\[\], ]+$|^(true|false|null)$/.test(value) ? `${name} ${value}` : value)).join(", ");
const groupWords = (row) => wordsOf(row).filter(([name, value]) => !isSeed(name, value) && !repeated.has(name));

// Short names of groups: the readable part of a folder without its seed, and what differs where several share it.
const bareName = (row) => data.rows.slug[row].replace(/-s\d+$/, "");
function titles(entries) {
  const same = new Map();
  for (const [name, words] of entries) {
    if (!same.has(name)) same.set(name, new Map());
    same.get(name).set(JSON.stringify(words), new Map(words));
  }
  return entries.map(([name, words]) => {
    const others = [...same.get(name).values()];
    if (others.length < 2) return name;
    const differ = words.filter(([word, value]) => others.some((other) => other.has(word) && other.get(word) !== value));
    const few = differ.slice(0, 3), alike = others.filter((other) => few.every(([word, value]) => other.get(word) === value));
    const told = (alike.length > 1 ? differ : few).map(([word, value]) => `${word.split(".").at(-1)} ${value}`);
    return `${name} (${told.join(", ") || said(words) || "other settings"})`;
  });
}

function numberOf(row, name) {
  const stage = data.rows.stage[row], place = numbered[stage].get(name);
  return place === undefined ? null : data.numbers[stage].columns[place][at[row]];
}

function textOf(row) {
  texts[row] ??= [stageOf(row), stateOf(row), ...studiesOf(row), nameOf(row), data.notes[row] ?? "",
    ...wordsOf(row).map(([name, value]) => `${name}=${value}`)].join(" ").toLowerCase();
  return texts[row];
}

const BOUND = /^([^<>=]+)(<=|>=|<|>)([-+]?[\d.]+(?:e[-+]?\d+)?)$/i;
const HOLDS = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b };

function terms(query) {
  return query.trim().toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
    const found = BOUND.exec(word);
    if (!found) return (row) => textOf(row).includes(word);
    return (row) => {
      const stage = data.rows.stage[row];
      const name = data.numbers[stage].names.find((one) => one.toLowerCase() === found[1]);
      const value = name === undefined ? null : numberOf(row, name);
      return value !== null && HOLDS[found[2]](Number(value), Number(found[3]));
    };
  });
}

function filtered() {
  const wanted = terms(state.query), words = Object.entries(state.words).filter(([, value]) => value !== "");
  const group = state.group ? new Set(groupNamed(state.group)?.rows ?? []) : null;
  const stage = data.stages.indexOf(state.stage), kind = data.states.indexOf(state.state);
  const study = data.rows.studies.indexOf(state.study), found = [];
  for (let row = 0; row < count(); row++) {
    if (stage >= 0 && data.rows.stage[row] !== stage) continue;
    if (kind >= 0 && data.rows.state[row] !== kind) continue;
    if (state.study === "-" ? data.rows.study[row].length : study >= 0 && !data.rows.study[row].includes(study)) continue;
    if (group && !group.has(row)) continue;
    if (!words.every(([name, value]) => wordOf(row, name) === value)) continue;
    if (wanted.every((holds) => holds(row))) found.push(row);
  }
  return found;
}

const groupName = (group) => `${data.stages[group.stage]} ${JSON.stringify(group.words)} ${data.rows.key[group.rows[0]]}`;
const groupNamed = (name) => data.groups.find((group) => groupName(group) === name);

// Numbers as people read them; what is not finite keeps its name.
function shown(value) {
  if (value === null || value === undefined) return "–";
  const number = Number(value);
  if (typeof value === "string" || !Number.isFinite(number)) return String(value);
  if (Number.isInteger(number) && Math.abs(number) < 1e15) return number.toLocaleString("en-US");
  return Math.abs(number) >= 1e-3 && Math.abs(number) < 1e6 ? String(Number(number.toPrecision(4))) : number.toExponential(2);
}

// A number that stands beside others: six digits are enough to see it by.
const digits = (value) => (typeof value === "number" && Number.isFinite(value) && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value));

function moment(seconds) {
  if (!seconds) return "–";
  const time = new Date(seconds * 1000), two = (part) => String(part).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

function bytes(size) {
  return size >= 1e9 ? `${(size / 1e9).toFixed(1)} GB` : size >= 1e5 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e3).toFixed(1)} kB`;
}

// Elements: properties by name, what is no property as an attribute; children as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";
function make(tag, set = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(set)) {
    if (value === undefined) continue;
    if (name in node && !tag.startsWith("svg:")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const link = (row, file, text) => make("a", { href: data.links.folders[row] + file }, text);

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text, className: "aside", "aria-hidden": "true" });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function command(text) {
  const button = make("button", { type: "button", className: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = await copy(text) ? "Copied" : "Press Ctrl-C";
    if (button.textContent !== "Copied") getSelection().selectAllChildren(box.firstChild);
    tell(button.textContent === "Copied" ? "The command is copied." : "The command is selected: press Ctrl-C.");
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  const box = make("div", { className: "command" }, make("pre", { className: "command", tabIndex: 0 }, text), button);
  return box;
}

const tell = (text) => { document.getElementById("told").textContent = text; };
