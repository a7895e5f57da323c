// One message: who, what, and its tabs. Its HTML is only ever in a frame of an opaque origin.

import { ApiError, beginning, json, openViews, request, save } from "./api.js";
import { $, blank, button, copy, el, icon, region, toast } from "./dom.js";
import { findCode, findLink, full, hasRemote, headerFields, line, person, plural, size, visible } from "./text.js";

const MOST_SHOWN = 2 * 1024 * 1024;
const MOST_HEADERS = 256 * 1024;
const WIDTHS = [["phone", "Phone"], ["tablet", "Tablet"], ["wide", "Full width"]];
const TABS = [
	["html", "HTML", "h"],
	["text", "Text", "t"],
	["source", "Source", "s"],
	["headers", "Headers", "r"],
	["parts", "Parts", "p"],
	["session", "Session", "e"],
];

export class Reader {
	constructor({ onClose, onDelete, onUnread }) {
		this.box = $("reader");
		Object.assign(this, { onClose, onDelete, onUnread });
		this.id = "";
		this.tab = "html";
		this.width = "wide";
		this.scheme = "light";
		this.close();
	}

	close() {
		this.stop?.abort();
		this.id = "";
		this.message = null;
		document.body.classList.remove("reading");
		this.box.replaceChildren(
			blank(el("h2", "No message is open"), el("p", "Press ", el("kbd", "j"), " and ", el("kbd", "Enter"), " to open one, ", el("kbd", "?"), " for all keys.")),
		);
	}

	async open(id, isQuiet = false) {
		this.stop?.abort();
		this.stop = new AbortController();
		const { signal } = this.stop;
		this.id = id;
		document.body.classList.add("reading");
		try {
			const message = await json(`/api/v1/message/${encodeURIComponent(id)}`, { signal });
			if (signal.aborted) return null;
			this.id = message.ID;
			this.message = message;
			await this.show(isQuiet);
			return message;
		} catch (error) {
			if (!signal.aborted) this.fail(error);
			return null;
		}
	}

	fail(error) {
		const words = error instanceof ApiError ? (error.status === 404 ? "This message is not there. It may have been deleted." : error.message) : "The server cannot be reached.";
		this.box.replaceChildren(el("div.head", el("div.actions", this.back())), blank({ role: "alert" }, el("h2", "Nothing to show"), el("p", words)));
	}

	back() {
		return button("Back", { icon: "back", class: "plain back", "aria-label": "Back to the list", onclick: () => this.onClose() });
	}

	// --- the head

	async show(isQuiet) {
		const one = this.message;
		const title = el("h2", { tabindex: "-1", dir: "auto" }, line(one.Subject) || "(no subject)");
		this.panel = el("div", { id: "panel", role: "tabpanel", tabindex: "0" });
		const head = el("div.head", this.actions(), title, this.who(), this.extras(), this.files());
		this.tabs = el("div", { role: "tablist", "aria-label": "Views of the message" }, TABS.map((tab) => this.tabOf(tab)));
		this.tabs.addEventListener("keydown", (event) => this.tabKey(event));
		this.box.replaceChildren(head, this.tabs, this.panel);
		this.box.scrollTop = 0;
		const wanted = this.tab === "html" && !one.HTML ? "text" : this.tab;
		await this.choose(wanted, false);
		if (!isQuiet && matchMedia("(max-width: 800px)").matches) title.focus();
	}

	actions() {
		const name = `${(line(this.message.Subject) || "message").replace(/[^\p{L}\p{N} ._-]+/gu, "_").slice(0, 80)}.eml`;
		return el("div.actions",
			this.back(),
			button("Delete", { icon: "bin", class: "danger", title: "Delete (#)", "aria-label": "Delete message", onclick: () => this.onDelete() }),
			button("Download", { icon: "save", title: "Download as .eml", "aria-label": "Download as .eml", onclick: () => this.saved(save(this.path("raw"), name)) }),
			button("Unread", { icon: "open", title: "Mark as unread (u)", "aria-label": "Mark as unread", onclick: () => this.onUnread() }),
		);
	}

	async saved(saving) {
		try {
			await saving;
		} catch (error) {
			toast(error.message);
		}
	}

	path(rest = "") {
		return `/api/v1/message/${encodeURIComponent(this.id)}${rest && `/${rest}`}`;
	}

	who() {
		const one = this.message;
		const people = (some) => some.flatMap((each, at) => [at ? ", " : "", el("bdi", person(each)), each.Name && each.Address ? el("bdi.address", ` <${line(each.Address)}>`) : ""]);
		const rows = [["From", [one.From]], ["To", one.To], ["Cc", one.Cc], ["Bcc", one.Bcc], ["Reply-To", one.ReplyTo]].filter(([, some]) => some.length).map(([name, some]) => [name, people(some.slice(0, 200))]);
		const when = new Date(one.Date);
		rows.push(["Date", [el("time", { datetime: one.Date }, Number.isNaN(+when) ? line(one.Date) : full(when)), el("span.address", ` · ${size(one.Size)}`)]]);
		return el("dl.who", rows.flatMap(([name, value]) => [el("dt", name), el("dd", value)]));
	}

	/** A code or link that one key copies. */
	extras() {
		const one = this.message;
		this.code = findCode(one.Text);
		this.link = findLink(one.Text, one.HTML);
		const found = [];
		if (this.code) found.push(this.chip("code", "Code", el("b", this.code), "c", () => this.copyCode()));
		if (this.link) found.push(this.chip("link", "Link", el("bdi", line(this.link)), "l", () => this.copyLink()));
		return found.length ? el("ul.chips", { "aria-label": "Found in the message" }, found) : null;
	}

	chip(name, label, value, key, onclick) {
		return el("li", el("button", { type: "button", onclick, title: `Copy (${key})` }, icon(name), `${label} `, value, icon("copy"), el("kbd", { "aria-hidden": "true" }, key)));
	}

	copyCode() {
		if (this.code) copy(this.code, "Code");
	}

	copyLink() {
		if (this.link) copy(this.link, "Link");
	}

	files() {
		const all = [...this.message.Attachments, ...this.message.Inline];
		if (!all.length) return null;
		return el("ul.chips", { "aria-label": "Attached files" },
			all.slice(0, 200).map((file) => el("li", el("button", { type: "button", title: `Save ${line(file.FileName)} (${line(file.ContentType)})`, onclick: () => this.saved(save(this.path(`part/${encodeURIComponent(file.PartID)}`), file.FileName)) }, icon("file"), el("bdi", line(file.FileName)), el("small", size(file.Size))))),
			all.length > 200 && el("li", `and ${plural(all.length - 200, "more")}`),
		);
	}

	// --- tabs

	tabOf([name, label, key]) {
		return el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", "data-tab": name, title: `${label} (${key})`, onclick: () => this.choose(name) }, label);
	}

	tabKey(event) {
		const at = TABS.findIndex(([name]) => name === this.shown);
		const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key] || 0;
		if (!step) return;
		event.preventDefault();
		const [name] = TABS[(at + step + TABS.length) % TABS.length];
		this.choose(name);
		$(`tab-${name}`).focus();
	}

	key(key) {
		const found = TABS.find(([, , one]) => one === key);
		if (found && this.message) this.choose(found[0]);
		return Boolean(found);
	}

	async choose(name, isWanted = true) {
		if (!this.message) return;
		if (isWanted) this.tab = name;
		this.shown = name;
		for (const tab of this.tabs.children) {
			const isChosen = tab.dataset.tab === name;
			tab.setAttribute("aria-selected", String(isChosen));
			tab.tabIndex = isChosen ? 0 : -1;
		}
		this.panel.setAttribute("aria-labelledby", `tab-${name}`);
		const { id } = this;
		try {
			const content = await this[name]();
			if (this.id === id && this.shown === name) this.panel.replaceChildren(...[content].flat());
		} catch (error) {
			if (this.id === id && !this.stop.signal.aborted) this.panel.replaceChildren(blank({ role: "alert" }, error.message));
		}
	}

	async html() {
		if (!this.message.HTML) return blank("This message has no HTML.");
		await openViews();
		const stage = el("div", { class: `stage ${this.width} ${this.scheme}` });
		const load = (ticket) => stage.replaceChildren(this.frame(ticket));
		load("");
		return [this.htmlTools(stage, load), stage];
	}

	frame(ticket) {
		return el("iframe", {
			title: "HTML of the message",
			sandbox: "allow-popups allow-popups-to-escape-sandbox",
			referrerpolicy: "no-referrer",
			src: `/view/${encodeURIComponent(this.id)}.html?embed=1${ticket && `&ticket=${ticket}`}`,
		});
	}

	htmlTools(stage, load) {
		const tools = el("div.tools");
		tools.append(
			this.choice("Width", WIDTHS, this.width, (name) => {
				this.width = name;
				stage.className = `stage ${this.width} ${this.scheme}`;
			}),
			this.choice("Colours", [["light", "Light"], ["dark", "Dark"]], this.scheme, (name) => {
				this.scheme = name;
				stage.className = `stage ${this.width} ${this.scheme}`;
			}),
		);
		if (this.message.HTML.length > MOST_SHOWN) tools.append(el("span", "Only the beginning is shown. Download the message for all of it."));
		if (hasRemote(this.message.HTML)) {
			const remote = button("Load remote content", { title: "Its sender may learn that it was read" });
			remote.addEventListener("click", async () => {
				try {
					load((await json(`/view/${encodeURIComponent(this.id)}/remote`, { method: "POST" })).Ticket);
					remote.replaceWith(el("span", "Remote content is loaded."));
				} catch (error) {
					toast(error.message);
				}
			});
			tools.append(el("span", "Remote images and styles are off."), remote);
		}
		return tools;
	}

	choice(label, all, chosen, onChoose) {
		const group = el("div.choice", { role: "group", "aria-label": label });
		for (const [name, words] of all) {
			const one = el("button", { type: "button", "aria-pressed": String(name === chosen) }, words);
			one.addEventListener("click", () => {
				for (const each of group.children) each.setAttribute("aria-pressed", String(each === one));
				onChoose(name);
			});
			group.append(one);
		}
		return group;
	}

	written(text, label, isWhole = true) {
		const shown = region("pre", label, visible(text));
		return isWhole ? shown : [el("p.tools", "Only the beginning is shown. Download the message for all of it."), shown];
	}

	text() {
		const { Text: text } = this.message;
		if (!text.trim()) return blank("This message has no text.");
		return this.written(text.slice(0, MOST_SHOWN), "Text of the message", text.length <= MOST_SHOWN);
	}

	async source() {
		const { text, isWhole } = await beginning(this.path("raw"), MOST_SHOWN, this.stop.signal);
		return this.written(text, "Source of the message", isWhole);
	}

	async headers() {
		const { text } = await beginning(this.path("raw"), MOST_HEADERS, this.stop.signal);
		const rows = headerFields(text).map(([name, value]) => el("tr", el("th", { scope: "row" }, visible(name)), el("td", el("bdi", visible(value)))));
		const count = el("span", { role: "status" }, plural(rows.length, "field"));
		const filter = el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter header fields", autocomplete: "off", spellcheck: "false" });
		filter.addEventListener("input", () => {
			const wanted = filter.value.toLowerCase();
			for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
			count.textContent = plural(rows.filter((row) => !row.hidden).length, "field");
		});
		return [el("div.tools", filter, count), region("div", "Header fields", el("table", el("tbody", rows)))];
	}

	async parts() {
		const { Parts: parts } = await json(this.path("tree"), { signal: this.stop.signal });
		const root = el("ul.tree");
		const lists = new Map();
		const holder = (number) => lists.get(number.includes(".") ? number.slice(0, number.lastIndexOf(".")) : number === "" ? null : "") || root;
		for (const part of parts.slice(0, 1000)) {
			const item = el("li", el("code", part.PartID || "whole"), " ", el("bdi", line(part.ContentType)), this.partWords(part));
			holder(part.PartID).append(item);
			if (part.Size === undefined) {
				const inner = el("ul");
				lists.set(part.PartID, inner);
				item.append(inner);
			}
		}
		return region("div", "MIME parts", root);
	}

	partWords(part) {
		if (part.Size === undefined) return null;
		const words = [part.Charset, part.Encoding, part.Disposition, part.ContentID && `<${part.ContentID}>`, size(part.Size)].filter(Boolean).map(line).join(" · ");
		const name = part.FileName || `part-${part.PartID}`;
		return [part.FileName && el("bdi", ` ${line(part.FileName)}`), el("small", words), button("Save", { class: "plain", "aria-label": `Save part ${part.PartID}`, onclick: () => this.saved(save(this.path(`part/${encodeURIComponent(part.PartID)}`), name)) })].filter(Boolean);
	}

	async session() {
		const { signal } = this.stop;
		const said = await json(this.path("envelope"), { signal });
		const words = (params) => Object.entries(params || {}).map(([name, value]) => (value === null || value === true ? name : `${name}=${value}`)).join(" ");
		const secure = said.TLS && typeof said.TLS === "object" ? Object.values(said.TLS).join(" ") : said.TLS;
		const rows = [
			["Received", full(new Date(said.Received))],
			["MAIL FROM", `<${said.From}> ${words(said.FromParams)}`],
			...said.To.slice(0, 1000).map((one) => ["RCPT TO", `<${one.Address}> ${words(one.Params)}`]),
			["Client", said.Peer],
			["HELO", said.Helo],
			["Protocol", said.Protocol],
			["TLS", secure || "none"],
			["User", said.User || "none"],
			["Size", `${size(said.Size)}; ${size(said.RawSize)} with trace fields`],
		];
		const table = el("table", el("tbody", rows.map(([name, value]) => el("tr", el("th", { scope: "row" }, name), el("td", el("bdi", visible(String(value))))))));
		return region("div", "SMTP session", table, await this.refused(said.From, signal));
	}

	/** What the same sender was refused; a server without that list has nothing to show. */
	async refused(sender, signal) {
		try {
			const found = await json(`/api/v1/attempts?from=${encodeURIComponent(sender)}`, { signal });
			const all = found.Attempts || found.attempts || [];
			if (!all.length) return el("p", "Nothing of this sender was refused lately.");
			const rows = all.slice(0, 50).map((one) => el("tr", el("td", visible(String(one.Time || one.Created || ""))), el("td", visible(String(one.Stage || ""))), el("td", visible(String(one.Reply || ""))), el("td", visible(String(one.Reason || "")))));
			return [el("h3", "Refused of this sender"), el("table", el("thead", el("tr", ["Time", "Stage", "Reply", "Reason"].map((name) => el("th", { scope: "col" }, name)))), el("tbody", rows))].reduce((box, one) => (box.append(one), box), el("div"));
		} catch {
			return "";
		}
	}

	async unread() {
		await request("/api/v1/messages", { method: "PUT", body: { Read: false, IDs: [this.id] } });
	}
}
