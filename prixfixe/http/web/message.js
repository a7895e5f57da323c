// One message: who, what, and its tabs. Its HTML is only ever in a frame of an opaque origin.

import { beginning, json, openViews, request, save } from "./api.js";
import { $, blank, button, copy, el, icon, region, table, tried } from "./dom.js";
import { findCode, findLink, full, hasRemote, headerFields, line, person, plural, size, visible } from "./text.js";

const MOST_SHOWN = 2 * 1024 * 1024;
const MOST_HEADERS = 256 * 1024;
const MOST_LISTED = 200;
const CUT = "Only the beginning is shown. Download the message for all of it.";
const TABS = { html: ["HTML", "h"], text: ["Text", "t"], source: ["Source", "s"], headers: ["Headers", "r"], parts: ["Parts", "p"], session: ["Session", "e"] };

export class Reader {
	constructor(on) {
		this.on = on;
		this.box = $("reader");
		this.tab = "html";
		this.look = { width: "wide", colours: "light" };
		this.close();
	}

	close() {
		this.stop?.abort();
		this.id = "";
		this.message = null;
		document.body.classList.remove("reading");
		this.box.replaceChildren(blank(el("h2", "No message is open"), el("p", "Press ", el("kbd", "j"), " and ", el("kbd", "Enter"), " to open one, ", el("kbd", "?"), " for all keys.")));
	}

	async open(id, isQuiet) {
		this.stop?.abort();
		this.stop = new AbortController();
		const { signal } = this.stop;
		this.id = id;
		this.message = null;
		document.body.classList.add("reading");
		try {
			const message = await json(`/api/v1/message/${encodeURIComponent(id)}`, { signal });
			if (signal.aborted) return null;
			this.id = message.ID;
			this.message = message;
			await this.show(isQuiet);
			return message;
		} catch (error) {
			const words = error.status === 404 ? "This message is not there. It may have been deleted." : error.message;
			if (!signal.aborted) this.box.replaceChildren(el("div.head", el("div.actions", this.back())), el("div.blank", { role: "alert" }, el("h2", "Nothing to show"), el("p", words)));
			return null;
		}
	}

	path(rest) {
		return `/api/v1/message/${encodeURIComponent(this.id)}/${rest}`;
	}

	// --- the head

	async show(isQuiet) {
		const title = el("h2", { tabindex: -1, dir: "auto" }, line(this.message.Subject) || "(no subject)");
		this.panel = el("div", { id: "panel", "data-id": this.id, role: "tabpanel", tabindex: 0 });
		this.tabs = el("div", { role: "tablist", "aria-label": "Views of the message", onkeydown: (event) => this.tabKey(event) }, Object.keys(TABS).map((name) => this.tabOf(name)));
		this.box.replaceChildren(el("div.head", this.actions(), title, this.who(), this.found(), this.files()), this.tabs, this.panel);
		this.box.scrollTop = 0;
		if (!isQuiet && matchMedia("(max-width: 800px)").matches) title.focus();
		await this.choose(this.tab === "html" && !this.message.HTML ? "text" : this.tab);
	}

	back() {
		return button("Back", { icon: "back", class: "plain back", "aria-label": "Back to the list", onclick: this.on.close });
	}

	actions() {
		const name = `${(line(this.message.Subject) || "message").replace(/[^\p{L}\p{N} ._-]+/gu, "_").slice(0, 80)}.eml`;
		return el("div.actions", this.back(),
			button("Delete", { icon: "bin", class: "danger", title: "Delete (#)", "aria-label": "Delete message", onclick: this.on.delete }),
			button("Download", { icon: "save", "aria-label": "Download as .eml", onclick: tried(() => save(this.path("raw"), name)) }),
			button("Unread", { icon: "open", title: "Mark as unread (u)", "aria-label": "Mark as unread", onclick: this.on.unread }));
	}

	who() {
		const one = this.message;
		const people = (some) => some.slice(0, MOST_LISTED).flatMap((each, at) => [at ? ", " : "", el("bdi", person(each)), each.Name && each.Address && el("bdi.address", ` <${line(each.Address)}>`)]);
		const rows = [["From", [one.From]], ["To", one.To], ["Cc", one.Cc], ["Bcc", one.Bcc], ["Reply-To", one.ReplyTo]].filter(([, some]) => some.length).map(([name, some]) => [name, people(some)]);
		rows.push(["Date", [el("time", { datetime: one.Date }, full(one.Date)), el("span.address", ` · ${size(one.Size)}`)]]);
		return el("dl.who", rows.flatMap(([name, value]) => [el("dt", name), el("dd", value)]));
	}

	found() {
		const { Text: text, HTML: html } = this.message;
		this.code = findCode(text);
		this.link = findLink(text, html);
		const chip = (name, value, key) => el("li", el("button", { type: "button", title: `Copy (${key})`, onclick: () => this.copy(key) }, icon(name), value, icon("copy"), el("kbd", { "aria-hidden": true }, key)));
		const chips = [this.code && chip("code", el("b", this.code), "c"), this.link && chip("link", el("bdi", line(this.link)), "l")];
		return chips.some(Boolean) && el("ul.chips", { "aria-label": "Found in the message" }, chips.filter(Boolean));
	}

	copy(key) {
		if (key === "c" && this.code) copy(this.code, "Code");
		if (key === "l" && this.link) copy(this.link, "Link");
	}

	files() {
		const all = [...this.message.Attachments, ...this.message.Inline];
		const chip = (file) => el("li", el("button", { type: "button", title: `Save (${line(file.ContentType)})`, onclick: this.saving(file.PartID, file.FileName) }, icon("file"), el("bdi", line(file.FileName)), el("small", size(file.Size))));
		return all.length > 0 && el("ul.chips", { "aria-label": "Attached files" }, all.slice(0, MOST_LISTED).map(chip), all.length > MOST_LISTED && el("li", `and ${plural(all.length - MOST_LISTED, "more file")}`));
	}

	saving(part, name) {
		return tried(() => save(this.path(`part/${encodeURIComponent(part)}`), name));
	}

	// --- tabs

	tabOf(name) {
		const [label, key] = TABS[name];
		return el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", title: `${label} (${key})`, onclick: () => this.choose(name, true) }, label);
	}

	tabKey(event) {
		const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
		if (!step) return;
		event.preventDefault();
		const names = Object.keys(TABS);
		const name = names[(names.indexOf(this.shown) + step + names.length) % names.length];
		this.choose(name, true);
		$(`tab-${name}`).focus();
	}

	key(key) {
		this.copy(key);
		const name = Object.keys(TABS).find((one) => TABS[one][1] === key);
		if (name) this.choose(name, true);
		return Boolean(name);
	}

	async choose(name, isKept = false) {
		if (!this.message) return;
		if (isKept) this.tab = name;
		this.shown = name;
		for (const tab of this.tabs.children) {
			const isChosen = tab.id === `tab-${name}`;
			tab.ariaSelected = isChosen;
			tab.tabIndex = isChosen ? 0 : -1;
		}
		this.panel.setAttribute("aria-labelledby", `tab-${name}`);
		const { signal } = this.stop;
		let content;
		try {
			content = await this[name](this.message, signal);
		} catch (error) {
			content = el("p.blank", { role: "alert" }, error.message);
		}
		if (!signal.aborted && this.shown === name) this.panel.replaceChildren(...[content].flat());
	}

	async html({ HTML: html }) {
		if (!html) return blank("This message has no HTML.");
		await openViews();
		const stage = el("div");
		const dress = () => (stage.className = `stage ${Object.values(this.look).join(" ")}`);
		const load = (ticket) => stage.replaceChildren(this.frame(ticket));
		dress();
		load("");
		return [
			el("div.tools",
				this.choice("width", { phone: "Phone", tablet: "Tablet", wide: "Full width" }, dress),
				this.choice("colours", { light: "Light", dark: "Dark" }, dress),
				html.length > MOST_SHOWN && el("span", CUT),
				hasRemote(html) && el("span", "Remote images and styles are off. ", this.remote(load))),
			stage,
		];
	}

	frame(ticket) {
		return el("iframe", {
			title: "HTML of the message",
			sandbox: "allow-popups allow-popups-to-escape-sandbox",
			referrerpolicy: "no-referrer",
			src: `/view/${encodeURIComponent(this.id)}.html?embed=1${ticket && `&ticket=${ticket}`}`,
		});
	}

	remote(load) {
		const { id } = this;
		const ask = tried(async () => {
			load((await json(`/view/${encodeURIComponent(id)}/remote`, { method: "POST" })).Ticket);
			made.parentNode.replaceChildren("Remote content is loaded.");
		});
		const made = button("Load remote content", { title: "Its sender may learn that it was read", onclick: ask });
		return made;
	}

	choice(name, all, changed) {
		const group = el("div.choice", { role: "group", "aria-label": name });
		const choose = (chosen) => {
			this.look[name] = chosen;
			for (const each of group.children) each.ariaPressed = each.dataset.name === chosen;
			changed();
		};
		group.append(...Object.entries(all).map(([key, words]) => el("button", { type: "button", "data-name": key, onclick: () => choose(key) }, words)));
		choose(this.look[name]);
		return group;
	}

	text({ Text: text }) {
		if (!text.trim()) return blank("This message has no text.");
		return [text.length > MOST_SHOWN && el("p.tools", CUT), region("pre", "Text", visible(text.slice(0, MOST_SHOWN)))].filter(Boolean);
	}

	async source(_message, signal) {
		const { text, isWhole } = await beginning(this.path("raw"), MOST_SHOWN, signal);
		return [!isWhole && el("p.tools", CUT), region("pre", "Source", visible(text))].filter(Boolean);
	}

	async headers(_message, signal) {
		const { text } = await beginning(this.path("raw"), MOST_HEADERS, signal);
		const shown = table(headerFields(text));
		const rows = [...shown.rows];
		const count = el("span", { role: "status" });
		const look = () => {
			const wanted = filter.value.toLowerCase();
			for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
			count.textContent = plural(rows.filter((row) => !row.hidden).length, "field");
		};
		const filter = el("input", { type: "search", placeholder: "Filter", "aria-label": "Filter header fields", autocomplete: "off", spellcheck: "false", oninput: look });
		look();
		return [el("div.tools", filter, count), region("div", "Header fields", shown)];
	}

	async parts(_message, signal) {
		const { Parts: parts } = await json(this.path("tree"), { signal });
		const root = el("div.tree", el("ul"));
		const lists = { above: root.firstChild };
		const above = (number) => (number.includes(".") ? number.slice(0, number.lastIndexOf(".")) : number && "");
		for (const part of parts.slice(0, 1000)) {
			const item = el("li", el("code", part.PartID || "all"), " ", el("bdi", line(part.ContentType)), this.partWords(part));
			(lists[part.PartID === "" ? "above" : above(part.PartID)] || lists.above).append(item);
			if (part.Size === undefined) item.append((lists[part.PartID] = el("ul")));
		}
		return region("div", "MIME parts", root);
	}

	partWords(part) {
		if (part.Size === undefined) return null;
		const words = [part.Charset, part.Encoding, part.Disposition, part.ContentID && `<${part.ContentID}>`, size(part.Size)];
		return [el("bdi", ` ${line(part.FileName)}`), el("small", words.filter(Boolean).map(line).join(" · ")), button("Save", { "aria-label": `Save part ${part.PartID}`, onclick: this.saving(part.PartID, part.FileName || `part-${part.PartID}`) })];
	}

	async session(_message, signal) {
		const said = await json(this.path("envelope"), { signal });
		const words = (parameters) => Object.entries(parameters).map(([name, value]) => (value ? `${name}=${value}` : name)).join(" ");
		const secure = said.TLS instanceof Object ? Object.values(said.TLS).join(" ") : said.TLS;
		const rows = [
			["Received", full(said.Received)],
			["MAIL FROM", `<${said.From}> ${words(said.FromParams)}`],
			...said.To.slice(0, 1000).map((one) => ["RCPT TO", `<${one.Address}> ${words(one.Params)}`]),
			["Client", said.Peer],
			["HELO", said.Helo],
			["Protocol", said.Protocol],
			["TLS", secure || "none"],
			["User", said.User || "none"],
			["Size", `${size(said.Size)}, ${size(said.RawSize)} with trace fields`],
		];
		return region("div", "SMTP session", table(rows), await this.refused(said.From, signal));
	}

	/** What the same sender was refused; a server without such a list has nothing to show. */
	async refused(sender, signal) {
		const found = await json(`/api/v1/attempts?from=${encodeURIComponent(sender)}`, { signal }).catch(() => null);
		if (!found) return null;
		if (!found.attempts.length) return el("p", "Nothing of this sender was refused lately.");
		const rows = found.attempts.slice(-50).reverse().map((one) => [full(one.Created), [one.Stage, one.Reply || "no reply", one.Reason, one.To.map((each) => `<${each}>`).join(", ")].filter(Boolean).join(" · ")]);
		return [el("h3", "Refused of this sender"), table(rows)];
	}

	async unread() {
		await request("/api/v1/messages", { method: "PUT", body: { Read: false, IDs: [this.id] } });
	}
}
