// The page: what the address says is what is shown; keys and events change it.

import { json, request } from "./api.js";
import { $, ask, button, el, toast, tried } from "./dom.js";
import { List } from "./list.js";
import { listen } from "./live.js";
import { Reader } from "./message.js";
import { State } from "./state.js";
import { line, number, plural } from "./text.js";

const KEYS = {
	"j k": "next, previous message",
	Enter: "open",
	Esc: "close, back to the list",
	"/": "search",
	"h t s": "HTML, text, source",
	"r p e": "headers, parts, session",
	"c l": "copy the code, the link",
	u: "mark as unread",
	"#": "delete",
	"?": "this help",
};
const TERMS = {
	word: "anywhere in the mail",
	'"two words"': "together",
	"-word": "without it",
	"to: from: cc: bcc:": "names and addresses",
	"subject: message-id:": "these fields",
	"addressed: reply-to:": "any address, answers",
	"is:unread is:read": "read state",
	"has:attachment": "also has:inline",
	"before: after:": "such as 2026-11-30",
	"larger: smaller:": "such as 20k, 1.5m",
	"tag: is:tagged": "tags",
};
const isNarrow = () => matchMedia("(max-width: 800px)").matches;

// --- the address says what is shown

function go({ q = list.query, id = "" }, isReplacing = false) {
	const parts = new URLSearchParams();
	if (q) parts.set("q", q);
	if (id) parts.set("id", id);
	if (`#${parts}` !== (location.hash || "#")) history[isReplacing ? "replaceState" : "pushState"](null, "", `#${parts}`);
	return route();
}

let isStarted = false;
async function route() {
	const said = new URLSearchParams(location.hash.slice(1));
	const q = said.get("q") || "";
	const id = said.get("id") || "";
	const loading = isStarted && q === list.query ? null : list.load(q);
	isStarted = true;
	$("q").value = q;
	if (id !== reader.id) await (id ? open(id) : close());
	await loading;
	list.select(reader.id);
}

let isMoving = false;
async function open(id) {
	list.select(id);
	const message = await reader.open(id, isMoving);
	isMoving = false;
	if (!message) return;
	if (message.ID !== id) go({ id: message.ID }, true);
	list.read([message.ID], true);
}

function close() {
	reader.close();
	list.select("");
	list.box.focus({ preventScroll: true });
}

// --- the parts

const list = new List({
	open(id, isByKey) {
		isMoving = isByKey;
		go({ id }, isByKey);
	},
	change() {
		const { query, total, error, unread } = list;
		document.title = `${unread > 0 ? `(${number(unread)}) ` : ""}PrixFixe`;
		$("count").replaceChildren(error ? "Search" : plural(total, query ? "result" : "message"), el("small", !error && !query && unread > 0 && `${number(unread)} unread`));
		$("delete-found").hidden = !total || error !== "";
		$("q").ariaInvalid = error !== "" && query !== "";
		$("none").hidden = !list.isLoaded || (total > 0 && !error);
		$("none").setAttribute("role", error ? "alert" : "status");
		if (!$("none").hidden) $("none").replaceChildren(...emptyWords(query, error));
	},
});
const reader = new Reader({ close: () => go({}), delete: () => deleteOne(), unread: () => markUnread() });

function emptyWords(query, error) {
	if (error) return [el("h2", query ? "This search has no answer" : "The mail cannot be shown"), el("p", line(error)), el("p", query && ["Press ", el("kbd", "?"), " for what can be asked."])];
	if (list.notIndexed) return [el("h2", "Nothing found yet"), el("p", `${plural(list.notIndexed, "message")} are not indexed yet.`)];
	if (query) return [el("h2", "Nothing found"), el("p", "No message matches this search.")];
	return [el("h2", "No mail yet"), el("p", "What is sent to this server appears here at once.")];
}

// --- deleting and marking

const deleteOne = tried(async () => {
	const one = reader.message || list.current;
	if (!one) return;
	const words = el("p", el("bdi", line(one.Subject) || "(no subject)"));
	if (!(await ask("Delete this message?", words, { yes: "Delete", isDanger: true }))) return;
	await request("/api/v1/messages", { method: "DELETE", body: { IDs: [one.ID] } });
	toast("Deleted");
	const next = list.items[list.at + 1] || list.items[list.at - 1];
	const wasOpen = reader.id === one.ID;
	list.removed([one.ID]);
	if (wasOpen) go(next && !isNarrow() ? { id: next.ID } : {}, true);
});

const deleteFound = tried(async () => {
	const { query } = list;
	const path = query ? `/api/v1/search?query=${encodeURIComponent(query)}` : "/api/v1/messages";
	const { messages_count: count } = await json(`${path}${query ? "&" : "?"}limit=0`);
	const words = el("p", query ? ["They match this search: ", el("code", query)] : "This is all mail of this server.");
	if (!(await ask(`Delete ${plural(count, "message")}?`, words, { yes: `Delete ${number(count)}`, isDanger: true }))) return;
	await request(path, query ? { method: "DELETE" } : { method: "DELETE", body: { IDs: [] } });
	toast(`${plural(count, "message")} deleted`);
	go({}, true);
	await list.load(query);
});

const markUnread = tried(async () => {
	if (!reader.message) return;
	const { id } = reader;
	await reader.unread();
	list.read([id], false);
});

// --- keys

function help() {
	const rows = (some, tag) => el("table", el("tbody", Object.entries(some).map(([key, words]) => el("tr", el("td", tag === "kbd" ? key.split(" ").map((one) => [el("kbd", one), " "]) : el(tag, key)), el("td", words)))));
	ask("Help", el("div.columns", el("section", el("h2", "Keys"), rows(KEYS, "kbd")), el("section", el("h2", "Search words"), rows(TERMS, "code"))), { yes: "Close", no: "" });
}

function escape(isWriting, target) {
	if (!$("state-panel").hidden) state.toggle(false);
	else if (isWriting) target.blur();
	else if (reader.id) go({});
	else if (list.query) go({ q: "" });
}

function onKey(event) {
	const isInList = event.target === list.box || event.target === document.body;
	const page = Math.max(1, Math.floor(list.box.clientHeight / 88) - 1);
	const moves = { j: 1, k: -1, ...(isInList && { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -list.total, End: list.total }) };
	if (event.key in moves) list.move(moves[event.key]);
	else if (event.key === "Enter" && isInList) list.open();
	else if (event.key === "/") $("q").select();
	else if (event.key === "?") help();
	else if (event.key === "#") deleteOne();
	else if (event.key === "u") markUnread();
	else return reader.key(event.key);
	return true;
}

document.addEventListener("keydown", (event) => {
	if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
	const isWriting = event.target.closest("input");
	if (event.key === "Escape") escape(isWriting, event.target);
	else if (!isWriting && onKey(event)) event.preventDefault();
});
addEventListener("popstate", route);
document.querySelector(".search").addEventListener("submit", (event) => {
	event.preventDefault();
	go({ q: $("q").value.trim() });
	list.box.focus();
});
$("q").addEventListener("search", () => $("q").value || (list.query && go({ q: "" })));
document.querySelector("h1 a").addEventListener("click", (event) => {
	event.preventDefault();
	go({ q: "" });
});
$("help").addEventListener("click", help);
$("delete-found").addEventListener("click", deleteFound);

// --- notices and events

let notices = {};
let isHidden = false;
function tell(more) {
	notices = { ...notices, ...more };
	const told = notices.lost || notices.state || (!isHidden && notices.open) || "";
	if ($("notices").textContent.startsWith(told) && (told || !$("notices").firstChild)) return;
	const hide = () => {
		isHidden = true;
		tell({});
	};
	$("notices").replaceChildren(told && el("div.notice", el("span", told), told === notices.open && button("Hide", { onclick: hide })));
}
const state = new State(tell);

route();
listen({
	up(isBack) {
		tell({ lost: "" });
		list.refresh(); // Mail may have come before the first event could.
		if (isBack) state.look();
	},
	down(words) {
		tell({ lost: `${words} Trying again…` });
		state.look();
	},
	event(name, data) {
		if (name === "new") list.arrived(data);
		else if (name === "read") list.read(data.IDs, data.Read);
		else if (name !== "deleted") list.refresh();
		else {
			list.removed(data.IDs);
			if (data.IDs.includes(reader.id)) go({}, true);
		}
	},
});
