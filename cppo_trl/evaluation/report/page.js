"use strict";
// Statements, programs and names are text of any origin: they are only ever set as textContent.

const PAGE_SIZE = 100;
const STATUS = {
  pass: "passed", wrong_answer: "wrong answer", runtime_error: "runtime error",
  time_limit: "time limit", memory_limit: "memory limit", output_limit: "output limit",
  compile_error: "does not compile", no_code: "no code", infrastructure: "no verdict",
};
const byId = (id) => document.getElementById(id);
const report = byId("report");
const view = byId("problem");
let index;
let shown = []; // numbers of the problems in the list, from 1
let listPage = 0;
let left = null; // where the report was scrolled to
let chosen = {method: null, run: 0};

function make(tag, {text, classes, ...attributes} = {}, ...children) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (classes) element.className = classes;
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

async function unpack(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// The list

const solves = (problem, method) => problem.passed[method][0] > 0;

function filters() {
  const base = index.methods.indexOf(index.baseline);
  const some = (problem) => index.methods.some((_, method) => solves(problem, method));
  const all = (problem) => index.methods.every((_, method) => solves(problem, method));
  const found = [
    ["all problems", () => true],
    ["solved by every method", all],
    ["solved by some method", some],
    ["solved by no method", (problem) => !some(problem)],
    ["methods disagree: some solve it, some do not", (problem) => some(problem) && !all(problem)],
  ];
  index.methods.forEach((name, method) => {
    if (method === base) return;
    const [first, second] = [name, index.baseline];
    found.push([`${first} solves it, ${second} does not`,
      (problem) => solves(problem, method) && !solves(problem, base)]);
    found.push([`${second} solves it, ${first} does not`,
      (problem) => solves(problem, base) && !solves(problem, method)]);
  });
  if (index.problems.some((problem) => problem.unknown)) {
    found.push(["left out for lack of a verdict", (problem) => problem.unknown]);
  }
  return found;
}

function setUpList() {
  const kinds = filters();
  const options = (names) => names.map((text, value) => make("option", {text, value}));
  byId("filter").append(...options(kinds.map(([name]) => name)));
  byId("benchmark").append(...options(["all", ...index.benchmarks.map(({name}) => name)]));
  byId("benchmark").parentElement.hidden = index.benchmarks.length < 2;
  byId("list").tHead.rows[0].append(
    make("th", {text: "problem", scope: "col"}),
    ...index.methods.map((text) => make("th", {text, scope: "col"})));
  const haystacks = index.problems.map(({id, statement}) => `${id}\n${statement}`.toLowerCase());
  const update = () => {
    const wanted = byId("search").value.trim().toLowerCase();
    const [benchmark, [, keeps]] = [byId("benchmark").value - 1, kinds[byId("filter").value]];
    shown = [];
    index.problems.forEach((problem, place) => {
      if (benchmark >= 0 && problem.benchmark !== benchmark) return;
      if (keeps(problem) && haystacks[place].includes(wanted)) shown.push(place + 1);
    });
    listPage = 0;
    drawList();
  };
  byId("filters").addEventListener("input", update);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").hidden = byId("list").hidden = false;
  update();
}

function drawList() {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
  const start = listPage * PAGE_SIZE;
  const numbers = shown.slice(start, start + PAGE_SIZE);
  byId("found").textContent = shown.length
    ? `${start + 1}–${start + numbers.length} of ${shown.length} problems`
    : "No problem is like that.";
  byId("list").tBodies[0].replaceChildren(...numbers.map(listRow));
  const turn = (by) => () => {
    listPage += by;
    drawList();
    byId("problems").scrollIntoView();
  };
  const button = (text, by) => {
    const made = make("button", {text, type: "button", onclick: turn(by)});
    made.disabled = listPage + by < 0 || listPage + by >= pages;
    return made;
  };
  byId("pager").replaceChildren(button("← Previous", -1), button("Next →", 1));
  byId("pager").hidden = pages === 1;
}

function listRow(number) {
  const {id, statement, benchmark, unknown, passed} = index.problems[number - 1];
  const many = index.benchmarks.length > 1 ? `${index.benchmarks[benchmark].name} · ` : "";
  const about = many + (unknown ? "left out, no verdict · " : "") + statement.slice(0, 160);
  const cells = passed.map(([count, total]) => make("td", {
    text: `${count}/${total}`,
    classes: ["none", "few", "many", "all"][count && (count < total ? 1 + (count * 2 >= total) : 3)],
  }));
  const name = make("th", {scope: "row"},
    make("a", {text: id, href: `#/problem/${number}`}), make("small", {text: about}));
  return make("tr", {}, name, ...cells);
}

// One problem

async function showProblem(number, method, run) {
  const problem = index.problems[number - 1];
  const page = await unpack(`page-${number}`);
  if (route()?.number !== number) return; // another was asked for meanwhile
  const best = index.methods.indexOf(index.benchmarks[problem.benchmark].best);
  const known = (value, size) => Number.isInteger(value) && value < size;
  chosen.method = known(method, index.methods.length) ? method : chosen.method ?? best;
  chosen.run = known(run, page.tuples[chosen.method].length) ? run : 0;
  const heading = make("h1", {text: problem.id, tabindex: "-1"});
  const parts = [
    problemLinks(number),
    make("p", {text: index.benchmarks[problem.benchmark].name, classes: "eyebrow"}),
    heading,
    make("dl", {classes: "facts"}, ...page.facts.map(([name, value]) =>
      make("div", {}, make("dt", {text: name}), make("dd", {text: value})))),
  ];
  if (problem.unknown) {
    parts.push(make("p", {classes: "warning",
      text: "Left out of all numbers: an attempt of some method has no verdict."}));
  }
  parts.push(make("pre", {text: problem.statement || "(no statement)", classes: "statement"}));
  if (page.starter) {
    parts.push(make("details", {}, make("summary", {text: "Starter code"}),
      make("pre", {text: page.starter, classes: "program"})));
  }
  const attempts = make("section", {"aria-label": "Attempts"});
  view.replaceChildren(...parts, make("h2", {text: "Attempts"}), attempts);
  drawAttempts(attempts, number, page);
  document.title = `${problem.id} – ${index.title}`;
  show(view);
  scrollTo(0, 0);
  heading.focus({preventScroll: true});
}

function problemLinks(number) {
  // The neighbours are those of the list as it is filtered, if the problem is in it.
  const order = shown.includes(number) ? shown : index.problems.map((_, place) => place + 1);
  const place = order.indexOf(number);
  const link = (text, to) => make("a", to === undefined
    ? {text, "aria-disabled": "true", role: "link"}
    : {text, href: `#/problem/${to}`});
  return make("nav", {"aria-label": "Problems"}, make("a", {text: "↑ Report", href: "#problems"}),
    link("← Previous", order[place - 1]), link("Next →", order[place + 1]));
}

function drawAttempts(section, number, page) {
  const tuples = page.tuples[chosen.method];
  const count = (attempts) => attempts.filter(({status}) => status === "pass").length;
  const choice = (text, isChosen, change) => make("button", {
    text, type: "button", "aria-pressed": isChosen,
    onclick: (event) => {
      Object.assign(chosen, change);
      history.replaceState(null, "", `#/problem/${number}/${chosen.method}/${chosen.run}`);
      const group = event.target.parentElement.className;
      drawAttempts(section, number, page);
      section.querySelector(`[class="${group}"] [aria-pressed="true"]`)?.focus();
    },
  });
  const methods = index.methods.map((name, method) => {
    const [passed, total] = index.problems[number - 1].passed[method];
    const run = chosen.run < page.tuples[method].length ? chosen.run : 0;
    return choice(`${name} ${passed}/${total}`, method === chosen.method, {method, run});
  });
  const hasDraws = tuples.some(({draw}) => draw > 0);
  const runs = tuples.map(({seed, draw, attempts}, run) => choice(
    `seed ${seed}${hasDraws ? `, draw ${draw}` : ""}: ${count(attempts)}/${attempts.length}`,
    run === chosen.run, {run}));
  section.replaceChildren(
    make("div", {role: "group", "aria-label": "Method", classes: "choices methods"}, ...methods),
    make("div", {role: "group", "aria-label": "Seed and draw", classes: "choices runs"}, ...runs));
  const tuple = tuples[chosen.run];
  if (!tuple) {
    section.append(make("p", {text: "This method did not attempt the problem."}));
  } else {
    section.append(...tupleParts(tuple, page));
  }
}

function tupleParts({strategies, planned, attempts}, page) {
  const none = planned
    ? `The plan does not parse: ${attempts.length} failures.`
    : "Attempts without a plan, independent of each other.";
  const parts = strategies ? [] : [make("p", {text: none, classes: planned ? "warning" : "note"})];
  const cards = attempts.map((attempt, place) => {
    const {status, passed, total, cpu, code, text, why} = attempt;
    const time = cpu < 0.1 ? `${(1000 * cpu).toFixed(1)} ms` : `${cpu.toFixed(2)} s`;
    const told = `${STATUS[status] ?? status} · ${passed} of ${total} tests · ${time} CPU`;
    const card = make("article", {classes: status === "pass" ? "solved" : "failed"},
      make("h3", {}, make("span", {text: `Attempt ${index.labels[place]}`}),
        make("span", {text: told, classes: status === "pass" ? "pass" : "fail"})));
    if (strategies) card.append(make("p", {text: strategies[place], classes: "strategy"}));
    if (why) card.append(make("p", {text: why, classes: "why"}));
    if (text === null) {
      card.append(make("p", {text: "Never made.", classes: "note"}));
      return card;
    }
    if (!code) card.append(make("p", {text: "No code in the completion:", classes: "note"}));
    const program = make("pre", {classes: "program", tabindex: "0",
      "aria-label": `Program of attempt ${index.labels[place]}`});
    program.append(make("code", {text: page.texts[text]}));
    card.append(program);
    return card;
  });
  return [...parts, make("div", {classes: "attempts"}, ...cards)];
}

// Routes: "#/problem/12", "#/problem/12/method/run"; anything else is the report

function route() {
  const found = /^#\/problem\/(\d+)(?:\/(\d+)\/(\d+))?$/.exec(location.hash);
  const [number, method, run] = (found ?? []).slice(1).map((part) => part && Number(part));
  return index.problems[number - 1] && {number, method, run};
}

function show(wanted) {
  for (const main of [report, view]) main.hidden = main !== wanted;
}

function follow() {
  const wanted = route();
  if (wanted) {
    showProblem(wanted.number, wanted.method, wanted.run);
  } else if (report.hidden) {
    document.title = index.title;
    show(report);
    if (left === null) byId(location.hash.slice(1))?.scrollIntoView();
    else scrollTo(0, left);
  }
}

async function start() {
  if (!("DecompressionStream" in window)) {
    byId("found").textContent = "This browser is too old to show the problems.";
    return;
  }
  index = await unpack("index");
  index.title = document.title;
  setUpList();
  document.addEventListener("click", (event) => {
    if (!report.hidden && event.target.closest("#list a")) left = scrollY;
  });
  addEventListener("hashchange", follow);
  follow();
}

start();
