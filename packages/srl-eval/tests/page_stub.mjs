// Runs a report's script over the few parts of a browser that it uses, and prints what is shown.
import { readFileSync } from "node:fs";

class Node {
  constructor(tag, space) { Object.assign(this, { tag, space, children: [], attributes: {}, listeners: {} }); }
  get childElementCount() { return this.children.filter(c => typeof c !== "string").length; }
  get textContent() { return this.children.map(c => c.textContent ?? c).join(""); }
  set textContent(text) { this.children = [String(text)]; }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  after() {}
  scrollIntoView() {}
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(event, action) { this.listeners[event] = action; }
  insertRow() { const row = new Node("tr"); this.append(row); return row; }
  set innerHTML(_) { throw new Error("markup was parsed"); }
  all(tag) {
    const own = this.tag === tag ? [this] : [];
    return own.concat(...this.children.filter(c => c instanceof Node).map(c => c.all(tag)));
  }
}
const page = readFileSync(process.argv[2], "utf8");
const json = /<script id="data" type="application\/json">([^]*?)<\/script>/.exec(page)[1];
const script = /<script>([^]*?)<\/script>/.exec(page)[1];
const byId = { data: new Node("script"), search: new Node("input"), verdict: new Node("select"),
  problem: new Node("select"), typeset: new Node("input"), more: new Node("button") };
byId.data.textContent = json;
for (const id of ["search", "verdict", "problem"]) byId[id].value = "";
byId.typeset.checked = true;
globalThis.document = {
  getElementById: id => byId[id] ??= new Node("div"),
  createElement: tag => new Node(tag),
  createElementNS: (space, tag) => new Node(tag, space),
};
globalThis.Option = class extends Node { constructor(text) { super("option"); this.append(text); } };
new Function(script)();

const open = () => {
  for (const card of byId.list.children) card.listeners.toggle();
  return byId.list.children;
};
const cards = open();
const shown = { texts: cards.map(c => c.all("pre").map(p => p.textContent)),
  formulas: cards.flatMap(c => c.all("math")).map(m => [m.space, m.attributes, m.textContent]),
  titles: cards.flatMap(c => c.all("span")).map(s => s.title).filter(Boolean) };
byId.search.value = process.argv[3];
byId.search.listeners.input();
shown.count = byId.count.textContent;
byId.typeset.checked = false;
byId.typeset.listeners.input();
shown.plain = open().map(c => c.all("pre").map(p => p.textContent));
shown.notes = byId.scores.all("p").map(p => p.textContent);
console.log(JSON.stringify(shown));
