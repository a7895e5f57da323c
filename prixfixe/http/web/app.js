// The page: what the address says is what is shown, keys and events change it.

import { json, request } from "./api.js";
import { $, ask, button, el, toast } from "./dom.js";
import { List } from "./list.js";
import { listen } from "./live.js";
import { Reader } from "./message.js";
import { State } from "./state.js";
import { line, number, plural } from "./text.js";

const KEYS = [
	["j k", "next, previous message"],
	["Enter", "open"],
	["Esc", "close, back to the list"],
	["/", "search"],
	["h t s", "HTML, text, source"],
	["r p e", "headers, parts, session"],
	["c l", "copy the code, the link"],
	["u", "mark as unread"],
	["#", "delete"],
	["?", "this help"],
];
const TERMS = [
	["word", "anywhere in the mail"],
	['"two words"', "together"],
	["to: from: cc: bcc:", "names and addresses"],
	["subject: message-id:", "these fields"],
	["addressed: reply-to:", "any address, answers"],
	["is:unread is:read", "read state"],
	["has:attachment", "also has:inline"],
	["before: after:", "such as 2026-11-30"],
	["larger: smaller:", "such as 20k, 1.5m"],
	["tag: is:tagged", "tags"],
	["-word", "without it"],
];

// --- the address

const said = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

function go({ q = list.query, id = "" }, isReplacing = false) {
	const parts = new URLSearchParams();
	if (q) parts.set("q", q);
	if (id) parts.set("id", id);
	const hash = `#${parts}`;
	if (hash === (location.hash || "#")) return route();
	history[isReplacing ? "replaceState" : "pushState"](null, "", hash);
	return route();
}

let isStarted = false;
async function route() {
	const { q = "", id = "" } = said();
	const loading = !isStarted || q !== list.query ? list.load(q) : null;
	isStarted = true;
	if ($("q").value !== q) $("q").value = q;
	if (id !== reader.id) {
		if (id) await open(id);
		else close();
	}
	await loading;
	list.select(reader.id);
}

async function open(id) {
	list.select(id);
	const message = await reader.open(id, isQuiet);
	isQuiet = false;
	if (!message) return;
	if (message.ID !== id) go({ id: message.ID }, true);
	list.read([message.ID], true);
}

let isQuiet = false;
function close() {
	reader.close();
	list.select("");
	list.box.focus({ preventScroll: true });
}

// --- the parts

const list = new List({
	onOpen(id, isMoving = false) {
		isQuiet = isMoving;
		go({ id }, isMoving);
	},
	onChange: painted,
});
const reader = new Reader({ onClose: () => go({}), onDelete: deleteOne, onUnread: markUnread });
const state = new State();

function painted() {
	document.title = `${list.unread ? `(${number(list.unread)}) ` : ""}PrixFixe`;
	const { query, total, error } = list;
	$("count").replaceChildren(error ? "Search" : query ? plural(total, "result") : plural(total, "message"), el("small", !error && !query && list.unread ? `${number(list.unread)} unread` : ""));
	$("delete-found").hidden = !total || Boolean(error);
	$("q").setAttribute("aria-invalid", String(Boolean(error && query)));
	const none = $("none");
	none.hidden = !list.isLoaded || (total > 0 && !error);
	none.setAttribute("role", error ? "alert" : "status");
	if (!none.hidden) none.replaceChildren(...emptyWords(query, error));
}

function emptyWords(query, error) {
	if (error && query) return [el("h2", "This search is not understood"), el("p", line(error)), el("p", "Press ", el("kbd", "?"), " for what can be asked.")];
	if (error) return [el("h2", "The mail cannot be shown"), el("p", line(error))];
	if (list.notIndexed) return [el("h2", "Nothing found yet"), el("p", `${plural(list.notIndexed, "message")} are not indexed yet.`)];
	if (query) return [el("h2", "Nothing found"), el("p", "No message matches this search.")];
	return [el("h2", "No mail yet"), el("p", "What is sent to this server appears here at once.")];
}

// --- deleting and marking

async function tried(work) {
	try {
		return await work();
	} catch (error) {
		toast(error.message || "The server cannot be reached.");
		return null;
	}
}

async function deleteOne() {
	const id = reader.id || list.current?.ID;
	if (!id) return;
	const subject = line(reader.message?.Subject ?? list.current?.Subject ?? "") || "(no subject)";
	const body = el("p", el("bdi", subject));
	if (!(await ask("Delete this message?", body, { yes: "Delete", isDanger: true }))) return;
	await tried(async () => {
		await request("/api/v1/messages", { method: "DELETE", body: { IDs: [id] } });
		const next = list.items[list.at + 1] || list.items[list.at - 1];
		const wasOpen = reader.id === id;
		list.removed([id]);
		if (wasOpen) go(next && !matchMedia("(max-width: 800px)").matches ? { id: next.ID } : {}, true);
		toast("Deleted");
	});
}

async function deleteFound() {
	await tried(async () => {
		const { query } = list;
		const path = query ? `/api/v1/search?query=${encodeURIComponent(query)}` : "/api/v1/messages";
		const { messages_count: count } = await json(`${path}${query ? "&" : "?"}limit=0`);
		const body = el("p", query ? "They match this search: " : "This is all mail of this server.", query && el("code", query));
		if (!(await ask(`Delete ${plural(count, "message")}?`, body, { yes: `Delete ${number(count)}`, isDanger: true }))) return;
		await request(path, query ? { method: "DELETE" } : { method: "DELETE", body: { IDs: [] } });
		toast(`${plural(count, "message")} deleted`);
		go({}, true);
		await list.load(query);
	});
}

async function markUnread() {
	const { id } = reader;
	if (!id) return;
	await tried(async () => {
		await reader.unread();
		list.read([id], false);
	});
}

// --- keys

function help() {
	const table = (rows) => el("table", el("tbody", rows.map(([key, words]) => el("tr", el("td", key.split(" ").map((one) => [el("kbd", one), " "]).flat()), el("td", words)))));
	const terms = el("table", el("tbody", TERMS.map(([term, words]) => el("tr", el("td", el("code", term)), el("td", words)))));
	ask("Keys and search", el("div", table(KEYS), el("h2", "Search words"), terms), { yes: "Close", no: "" });
}

function key(event) {
	if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
	const isWriting = event.target.closest("input, textarea, select");
	if (event.key === "Escape") {
		if (!$("state-panel").hidden) state.toggle(false);
		else if (isWriting) isWriting.blur();
		else if (reader.id) go({});
		else if (list.query) go({ q: "" });
		return;
	}
	if (isWriting) return;
	if (onKey(event)) event.preventDefault();
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
	else if (event.key === "c") reader.copyCode();
	else if (event.key === "l") reader.copyLink();
	else return reader.key(event.key);
	return true;
}

document.addEventListener("keydown", key);
addEventListener("popstate", route);
document.querySelector(".search").addEventListener("submit", (event) => {
	event.preventDefault();
	go({ q: $("q").value.trim() });
	list.box.focus();
});
$("q").addEventListener("search", () => $("q").value === "" && list.query && go({ q: "" }));
document.querySelector("h1 a").addEventListener("click", (event) => {
	event.preventDefault();
	go({ q: "" });
});
$("help").addEventListener("click", help);
$("delete-found").addEventListener("click", deleteFound);

// --- notices and events

let notices = [];
let lost = "";
const dismissed = new Set();
state.onNotices = (told) => {
	notices = told;
	paintNotices();
};

function paintNotices() {
	const told = lost ? [["lost", lost]] : notices.filter(([name]) => !dismissed.has(name));
	const text = told.map((one) => one.join()).join("\n");
	if (text === $("notices").dataset.text) return;
	$("notices").dataset.text = text;
	$("notices").replaceChildren(
		...told.map(([name, words]) =>
			el("div.notice", el("span", words), name === "open" && button("Hide", { onclick: () => (dismissed.add(name), paintNotices()) })),
		),
	);
}

route();
state.look();
listen({
	up(isBack) {
		lost = "";
		paintNotices();
		if (isBack) {
			state.look();
			list.refresh();
		}
	},
	down(words) {
		lost = `${words} Trying again…`;
		paintNotices();
		state.lost(true);
	},
	event(name, data) {
		if (name === "new") list.arrived(data);
		else if (name === "deleted") {
			list.removed(data.IDs);
			if (data.IDs.includes(reader.id)) go({}, true);
		} else if (name === "read") list.read(data.IDs, data.Read);
		else list.refresh();
	},
});
