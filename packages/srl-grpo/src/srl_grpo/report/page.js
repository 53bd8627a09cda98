"use strict";
const data = (id) => JSON.parse(document.getElementById(id).textContent);
const make = (tag, text, name) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (name) node.className = name;
  return node;
};

function say(value, kind) {
  const size = Math.abs(value);
  if (kind === "share") return (100 * value).toFixed(1) + " %";
  if (size >= 100) return Math.round(value).toLocaleString("en").replace("-", "−");
  if (size && size < 1e-3) return value.toExponential(2).replaceAll("-", "−");
  return value === 0 ? "0" : value.toPrecision(3).replace("-", "−");
}

// One cursor over all charts: they share the axis of steps.
(function cursor() {
  const { across: [left, right], charts } = data("course-data");
  const figures = [...document.querySelectorAll(".chart")].map((figure, i) => ({
    plot: figure.querySelector(".plot"),
    line: figure.querySelector(".cursor"),
    values: [...figure.querySelectorAll(".key b")],
    last: [...figure.querySelectorAll(".key b")].map((node) => node.textContent),
    ...charts[i],
  }));
  const nearest = (steps, step) => {
    let low = 0, high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= step) low = middle; else high = middle;
    }
    return step - steps[low] <= steps[high] - step ? low : high;
  };
  const show = (fraction) => {
    const step = left + fraction * (right - left);
    for (const figure of figures) {
      figure.line.style.display = "block";
      figure.line.style.left = 100 * fraction + "%";
      figure.line.dataset.step = "step " + Math.round(step).toLocaleString("en");
      figure.lines.forEach((line, i) => {
        figure.values[i].textContent = say(line.y[nearest(line.x, step)], figure.kind);
      });
    }
  };
  const hide = () => {
    for (const figure of figures) {
      figure.line.style.display = "none";
      figure.values.forEach((node, i) => { node.textContent = figure.last[i]; });
    }
  };
  for (const { plot } of figures) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      plot.classList.add("under");
      show(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    });
    plot.addEventListener("pointerleave", () => { plot.classList.remove("under"); hide(); });
  }
})();

// Rollouts. Whatever a model wrote is set as text, never as markup.
(function browser() {
  const steps = data("rollout-data");
  if (!steps.length) return;
  const filters = {
    all: () => true,
    exact: (row) => row.reward === 1,
    "not exact": (row) => row.reward !== 1 && !row.reason,
    invalid: (row) => row.reason !== null,
  };
  const slider = document.getElementById("step");
  const body = document.getElementById("rows");
  const detail = document.getElementById("detail");
  const buttons = document.querySelector(".filters");
  let filter = "all", rows = [], chosen = 0;
  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));

  function pre(segments, name) {
    const node = make("pre", undefined, name);
    for (const [text, same] of segments) node.append(same ? text : make("mark", text));
    return node;
  }
  function part(title, ...nodes) {
    const node = make("div");
    node.append(make("h3", title), ...nodes);
    return node;
  }
  function facts(row) {
    const list = make("dl", undefined, "facts");
    const entries = [
      ["reward", number(row.reward, 3)], ["advantage", number(row.advantage, 3)],
      ["sample", row.sample ?? "–"], ["finish", row.finish || "–"],
    ];
    if (row.reason) entries.push(["invalid", row.reason.replaceAll("_", " ")]);
    if (!row.kept) entries.push(["trained on", "no"]);
    for (const [label, value] of entries) {
      const pair = make("div");
      pair.append(make("dt", label), make("dd", value));
      list.append(pair);
    }
    return list;
  }
  function open(index) {
    chosen = index;
    [...body.children].forEach((node, i) => node.setAttribute("aria-selected", i === index));
    detail.replaceChildren();
    const row = rows[index];
    if (!row) { detail.append(make("p", "None at this step.", "note")); return; }
    const prompt = steps[slider.value].prompts[row.prompt];
    const pair = make("div", undefined, "pair");
    const wrote = row.completion ? part("completion, as written", make("pre", row.completion))
      : part("step, as written", pre(row.ours, "ours"));
    pair.append(wrote);
    if (row.theirs.length) pair.append(part("expert's step", pre(row.theirs, "theirs")));
    detail.append(facts(row), pair);
    if (row.thinking) detail.append(part("thinking", make("pre", row.thinking)));
    if (prompt.text) detail.append(part("prompt", make("pre", prompt.text)));
  }
  function list() {
    const step = steps[slider.value];
    document.getElementById("step-name").textContent = step.step.toLocaleString("en");
    rows = step.rows.filter(filters[filter]);
    body.replaceChildren(...rows.map((row, i) => {
      const node = make("tr");
      node.className = (row.reason ? "invalid" : "") + (row.kept ? "" : " unused");
      node.tabIndex = 0;
      node.append(make("td", number(row.reward, 3)), make("td", number(row.advantage, 2)),
        make("td", step.prompts[row.prompt].id || "–", "left"));
      node.addEventListener("click", () => open(i));
      node.addEventListener("keydown", (event) => {
        const move = { ArrowDown: 1, ArrowUp: -1, Enter: 0 }[event.key];
        if (move === undefined) return;
        event.preventDefault();
        const next = Math.min(rows.length - 1, Math.max(0, i + move));
        open(next);
        body.children[next].focus();
      });
      return node;
    }));
    for (const button of buttons.children) {
      const count = step.rows.filter(filters[button.dataset.filter]).length;
      button.textContent = `${button.dataset.filter} ${count}`;
      button.setAttribute("aria-pressed", button.dataset.filter === filter);
    }
    open(Math.min(chosen, Math.max(0, rows.length - 1)));
  }
  for (const name of Object.keys(filters)) {
    const button = make("button", name);
    button.type = "button";
    button.dataset.filter = name;
    button.addEventListener("click", () => { filter = name; chosen = 0; list(); });
    buttons.append(button);
  }
  slider.max = steps.length - 1;
  slider.value = steps.length - 1;
  // Open on a step that differs from the expert's, where there is one.
  chosen = Math.max(0, steps[steps.length - 1].rows.findIndex((row) => filters["not exact"](row)));
  slider.addEventListener("input", list);
  list();
})();
