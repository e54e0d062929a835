// The page: what is dropped or chosen becomes a code, and sliders search again with it.

import { bitsOf, drawCode } from "./code.js";

const MOST_BITS_OF_A_NEIGHBOR = 128;
const WORDS = {
  missing: "missing",
  changed: "changed since it was indexed",
  link: "a link, not followed",
  unreadable: "cannot be read",
};

const element = (id) => document.getElementById(id);
let about = null;
let query = null; // {bits, code, name}
let asked = 0; // numbers files and images that are asked for: answers to older ones are dropped
let searches = 0; // numbers searches, likewise
let waiting = 0; // timer of the sliders
let preview = null; // address of the dropped file

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

// Asks the server; an Error says what is wrong in its words.
async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is tfhash demo still running?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function showError(error) {
  element("error").textContent = error ? error.message : "";
  element("error").hidden = !error;
}

function unavailableInWords(unavailable) {
  return Object.entries(unavailable)
    .map(([state, number]) => `${count(number, "file")} not shown: ${WORDS[state]}`)
    .join("; ");
}

// An image of the index, as a button that searches for it.
function card(item, ...below) {
  let picture;
  if (item.state === "ok") {
    picture = make("img", { src: `thumbnails/${item.id}`, alt: item.name, loading: "lazy" });
    picture.onerror = () => picture.replaceWith(gone({ ...item, state: "unreadable" }));
  } else {
    picture = gone(item);
  }
  const button = make("button", { type: "button", title: `Search for ${item.name}` }, picture);
  button.onclick = () => searchForItem(item);
  return make("li", {}, button, ...below, make("span", { className: "name", textContent: item.name }));
}

function gone(item) {
  const shown = make("span", { className: "gone", textContent: WORDS[item.state] });
  shown.setAttribute("aria-label", `${item.name}: ${WORDS[item.state]}`);
  return shown;
}

const distanceOf = (item) =>
  make("span", { className: "distance", textContent: count(item.distance, "bit") });

// Begins a new query: no search of the one before follows.
function begin() {
  clearTimeout(waiting);
  query = null;
  searches++;
  return ++asked;
}

async function searchForItem(item) {
  const number = begin();
  try {
    const found = await ask(`api/codes/${item.id}`);
    if (number === asked) await show(found, found.state === "ok" ? `thumbnails/${item.id}` : null);
  } catch (error) {
    if (number === asked) fail(error);
  }
}

async function searchForFile(file) {
  if (!file) return;
  const number = begin();
  showError(null);
  element("found").textContent = "Encoding";
  try {
    if (file.size > about.most_bytes) {
      throw new Error(
        `A file may have at most ${about.most_bytes.toLocaleString("en")} bytes. Received: ` +
          `${file.size.toLocaleString("en")}. Drop a smaller file.`,
      );
    }
    const found = await ask("api/codes", { method: "POST", body: file });
    if (number !== asked) return;
    if (preview) URL.revokeObjectURL(preview);
    preview = URL.createObjectURL(file);
    await show({ name: file.name || "pasted image", ...found }, preview);
  } catch (error) {
    if (number === asked) fail(error);
  }
}

// Nothing is left that could be taken for an answer.
function fail(error) {
  query = null;
  for (const id of ["query", "controls"]) element(id).hidden = true;
  element("start").hidden = false;
  element("found").textContent = "";
  element("neighbors").replaceChildren();
  showError(error);
}

async function show(found, address) {
  showError(null);
  query = { ...found, bits: bitsOf(found.code, about.bits) };
  const image = element("query-image");
  image.onerror = () => (image.hidden = true); // a format that the browser does not know
  image.hidden = !address;
  image.alt = `Query: ${found.name}`;
  if (address) image.src = address;
  element("query-name").textContent = found.name;
  element("code").replaceChildren(drawCode(query.bits));
  element("code-legend").textContent =
    `${count(about.bits, "bit")}; black is 1, white is 0` +
    (about.bits > MOST_BITS_OF_A_NEIGHBOR ? "" : ". Below, a red frame marks a bit that differs");
  for (const id of ["query", "controls"]) element(id).hidden = false;
  element("start").hidden = true;
  await search();
}

async function search() {
  if (!query) return;
  const number = ++searches;
  const [k, radius] = [element("k").value, element("radius").value];
  try {
    const found = await ask(`api/neighbors?code=${query.code}&k=${k}&radius=${radius}`);
    if (number !== searches) return;
    element("found").textContent = foundInWords(found, Number(radius));
    element("neighbors").replaceChildren(
      ...found.items.map((item) => {
        const bits = bitsOf(item.code, about.bits);
        const code = bits.length > MOST_BITS_OF_A_NEIGHBOR ? [] : [drawCode(bits, query.bits)];
        return card(item, distanceOf(item), ...code);
      }),
    );
  } catch (error) {
    if (number === searches) fail(error);
  }
}

function foundInWords(found, radius) {
  const parts = [];
  if (!found.items.length) parts.push(`No images within ${count(radius, "bit")}`);
  else if (found.is_cut) parts.push(`The ${count(found.items.length, "nearest image")}; more are within ${count(radius, "bit")}`);
  else parts.push(`${count(found.items.length, "image")} within ${count(radius, "bit")}, which is all`);
  if (found.cuts_tie) parts.push("of equal distances, smaller ids come first");
  const missing = unavailableInWords(found.unavailable);
  if (missing) parts.push(missing);
  return `${parts.join("; ")}.`;
}

async function findGroups() {
  const [button, radius] = [element("find"), Number(element("group-radius").value)];
  button.disabled = true;
  element("groups-found").textContent = "Comparing all images";
  element("groups").replaceChildren();
  try {
    const found = await ask(`api/groups?radius=${radius}`);
    element("groups-found").textContent = groupsInWords(found, radius);
    element("groups").replaceChildren(...found.shown.map(groupOf));
  } catch (error) {
    element("groups-found").textContent = error.message;
  }
  button.disabled = false;
}

function groupsInWords(found, radius) {
  if (!found.groups) return `No duplicates within ${count(radius, "bit")}.`;
  let words =
    `${count(found.groups, "group")} within ${count(radius, "bit")}, with ` +
    `${found.images.toLocaleString("en")} of ${count(found.of, "image")}`;
  if (found.shown.length < found.groups) {
    words += `; the ${found.shown.length.toLocaleString("en")} largest are shown`;
  }
  const missing = unavailableInWords(found.unavailable);
  const note = found.note ? ` ${found.note}.` : "";
  return `${words}${missing ? `; ${missing}` : ""}.${note}`;
}

function groupOf(group, index) {
  const range =
    group.nearest === group.farthest
      ? count(group.nearest, "bit")
      : `${group.nearest} to ${count(group.farthest, "bit")}`;
  const heading = `Group ${index + 1}: ${count(group.size, "image")}, ${range} apart`;
  const shown = group.items.map((item) => card(item, distanceOf(item)));
  const made = make("article", {}, make("h3", { textContent: heading }));
  made.append(make("ul", { className: "images" }, ...shown));
  const more = group.size - group.items.length;
  if (more) made.append(make("p", { className: "small", textContent: `and ${count(more, "more image")}` }));
  return made;
}

function slider(id, most, value, inWords, changed) {
  const [input, shown] = [element(id), element(`${id}-shown`)];
  Object.assign(input, { max: most, value });
  const say = () => (shown.textContent = inWords(Number(input.value)));
  input.oninput = () => {
    say();
    if (!changed) return;
    clearTimeout(waiting);
    waiting = setTimeout(changed, 100);
  };
  say();
}

function listen() {
  const [drop, file] = [element("drop"), element("file")];
  file.onchange = () => {
    searchForFile(file.files[0]);
    file.value = ""; // so that the same file can be chosen again
  };
  document.ondragover = (event) => {
    event.preventDefault();
    drop.classList.add("over");
  };
  document.ondragleave = () => drop.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    searchForFile(event.dataTransfer.files[0]);
  };
  document.onpaste = (event) => searchForFile(event.clipboardData.files[0]);
  element("find").onclick = findGroups;
}

async function start() {
  try {
    about = await ask("api/about");
  } catch (error) {
    return fail(error);
  }
  element("about").textContent =
    `${count(about.images, "image")}, codes of ${count(about.bits, "bit")}, ${about.folder}`;
  element("problem").textContent = about.problem && `Only indexed images can be searched for: ${about.problem}.`;
  element("problem").hidden = !about.problem;
  const inBits = (value) => count(value, "bit");
  slider("radius", about.bits, about.bits, inBits, search);
  slider("group-radius", about.bits, 0, inBits);
  const most = Math.min(about.most_neighbors, Math.max(about.images, 1));
  slider("k", most, Math.min(12, most), (value) => count(value, "image"), search);
  element("examples").replaceChildren(...about.examples.map((item) => card(item)));
  listen();
}

start();
