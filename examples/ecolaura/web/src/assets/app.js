// Fills the pages from the API whose address stands in /config.json. Without it the pages stay readable.

const config = await fetch("/config.json").then((answer) => answer.json()).catch(() => ({}));
const api = (path, options) => call(config.api, path, options);
const notifications = (path, options) => call(config.notifications, path, options);

async function call(base, path, options) {
  const answer = await fetch((base ?? "") + path, options);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

const post = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const day = (text) => new Date(text).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });
const element = (name, text, attributes = {}) => Object.assign(document.createElement(name), { textContent: text }, attributes);
const apology = (name) => element(name, "The garden does not answer right now. Try again in a moment.", { className: "quiet" });

const warn = (error) => console.warn(error.message);

// Once at a time; what failed can be tried again.
async function trying(button, work) {
  const label = button.dataset.label ??= button.textContent;
  button.disabled = true;
  await work().then(() => { button.textContent = label; }, (error) => {
    warn(error);
    button.textContent = "Try again";
  });
  button.disabled = false;
}

async function showSummary(place) {
  const summary = await api("/api/summary");
  const litres = (summary.millilitres / 1000).toFixed(1);
  for (const cell of place.querySelectorAll("[data-key]")) {
    cell.textContent = cell.dataset.key === "litres" ? litres : summary[cell.dataset.key];
  }
}

async function showReminders(place) {
  try {
    const found = (await notifications("/api/notifications")).notifications;
    place.replaceChildren(...found.map((one) => {
      const item = element("li", one.message);
      item.append(element("time", day(one.due_on), { dateTime: one.due_on }));
      return item;
    }));
    if (!found.length) place.append(element("li", "Nothing. Enjoy the green.", { className: "quiet" }));
  } catch {
    place.replaceChildren(apology("li"));
  }
}

async function showPlants(place) {
  try {
    const [{ plants }, flags] = await Promise.all([api("/api/plants"), api("/api/flags").catch(() => ({}))]);
    place.replaceChildren(...plants.map((plant) => card(plant, flags)));
  } catch {
    place.replaceChildren(apology("p"));
  }
}

function card(plant, flags) {
  const view = document.getElementById("plant").content.cloneNode(true).firstElementChild;
  view.querySelector("h2").textContent = plant.name;
  view.querySelector(".species").textContent = plant.species;
  const fill = (key, text) => { view.querySelector(`[data-key=${key}]`).textContent = text; };
  fill("place", plant.place || "somewhere");
  fill("rhythm", plant.water_every_days === 1 ? "every day" : `every ${plant.water_every_days} days`);
  fill("watered", plant.watered_at ? day(plant.watered_at) : "never");
  const water = view.querySelector("[data-action=water]");
  water.hidden = !flags["watering-log"];
  water.addEventListener("click", () => trying(water, async () => {
    const { watered_at } = await api(`/api/plants/${plant.id}/waterings`, post({ millilitres: 250 }));
    fill("watered", day(watered_at));
  }));
  if (flags["plant-notes"]) showNotes(view.querySelector(".notes"), plant).catch(warn);
  return view;
}

async function showNotes(place, plant) {
  const path = `/api/plants/${plant.id}/notes`;
  const list = place.querySelector("ul");
  const form = place.querySelector("form");
  const item = (note) => element("li", note.text, { title: day(note.created_at) });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    trying(form.querySelector("button"), async () => {
      list.prepend(item(await api(path, post({ text: form.elements.text.value }))));
      form.reset();
    });
  });
  list.replaceChildren(...(await api(path)).notes.map(item));
  place.hidden = false;
}

async function showAbout(place) {
  const { version } = await api("/version");
  place.textContent = [config.environment, `version ${version}`].filter(Boolean).join(" · ");
}

const parts = { summary: showSummary, reminders: showReminders, plants: showPlants, about: showAbout };
for (const [id, show] of Object.entries(parts)) {
  const place = document.getElementById(id);
  if (place) show(place).catch(warn);
}
