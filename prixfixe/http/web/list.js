// The list: of thousands of rows only those in sight exist, and only some hundreds are remembered.

import { json } from "./api.js";
import { $, el, icon } from "./dom.js";
import { full, line, number, person, plural, short, size } from "./text.js";

const HEIGHT = 88;
const PAGE = 50;
const AROUND = 4; // rows beyond what is in sight
const REMEMBERED = 300; // before and after
const REFRESH_MS = 250;

export class List {
	constructor(on) {
		this.on = on;
		this.box = $("list");
		this.rows = $("rows");
		this.query = this.opened = "";
		this.generation = 0;
		this.clear();
		this.box.addEventListener("scroll", () => this.paint(), { passive: true });
		new ResizeObserver(() => this.paint()).observe(this.box);
		this.box.addEventListener("click", (event) => this.open(Number(event.target.closest(".row")?.dataset.at ?? NaN)));
		$("newer").addEventListener("click", () => {
			this.box.scrollTop = 0;
			this.box.focus();
		});
		setInterval(() => this.rows.replaceChildren(this.paint()), 600000); // "14:05" becomes a day
	}

	clear() {
		this.items = []; // by place; most are not known
		this.elements = new Map();
		this.rows.replaceChildren();
		this.loading = new Set();
		this.total = this.unread = this.unseenNew = this.notIndexed = 0;
		this.at = -1;
		this.error = "";
		this.isLoaded = false;
	}

	get current() {
		return this.items[this.at];
	}

	// --- reading

	async load(query) {
		this.query = query;
		this.generation += 1;
		this.clear();
		this.box.scrollTop = 0;
		await this.fetch(0);
	}

	page(start) {
		const bounds = `start=${start}&limit=${PAGE}`;
		return json(this.query ? `/api/v1/search?query=${encodeURIComponent(this.query)}&${bounds}` : `/api/v1/messages?${bounds}`);
	}

	async fetch(start) {
		if (this.loading.has(start)) return;
		const { generation } = this;
		this.loading.add(start);
		try {
			const page = await this.page(start);
			if (generation !== this.generation) return;
			this.loading.delete(start);
			this.take(page, start);
		} catch (error) {
			if (generation !== this.generation) return;
			this.loading.delete(start);
			if (!this.isLoaded) this.error = error.message;
		}
		this.isLoaded = true;
		this.on.change();
	}

	/** Put a page where it belongs; mail that came meanwhile shifts it. */
	take(page, start) {
		const came = this.isLoaded ? page.messages_count - this.total : 0;
		if (came) this.refresh();
		else this.setTotal(page.messages_count);
		this.put(page, start - Math.max(0, came));
	}

	put(page, start) {
		page.messages.forEach((one, at) => {
			if (start + at >= 0 && start + at < this.total) this.items[start + at] = one;
		});
		this.unread = page.unread;
		this.notIndexed = page.NotIndexed || 0;
		this.paint();
	}

	setTotal(total) {
		this.total = this.items.length = total;
		this.rows.style.height = `${total * HEIGHT}px`;
	}

	/** Look at the newest again, soon, and keep what is in sight where it is. */
	refresh() {
		this.isStale = true;
		this.refreshing ??= setTimeout(async () => {
			this.isStale = false;
			const { generation } = this;
			const page = await this.page(0).catch(() => null); // What is lost is told elsewhere.
			this.refreshing = null;
			if (page && generation === this.generation) this.merge(page);
			if (page && this.isStale) this.refresh();
		}, REFRESH_MS);
	}

	merge(page) {
		const places = new Map();
		this.items.slice(0, REMEMBERED).forEach((one, at) => places.set(one.ID, at));
		const known = page.messages.findIndex((one) => places.has(one.ID));
		const came = page.messages_count - this.total;
		const isSame = known >= 0 ? came === known - places.get(page.messages[known].ID) : came > PAGE;
		if (isSame && came >= 0) this.insert(came);
		else {
			this.items = [];
			this.setTotal(page.messages_count);
		}
		this.put(page, 0);
		this.select(this.opened);
		this.error = "";
		this.isLoaded = true;
		this.on.change();
	}

	// --- what happens elsewhere

	arrived(one) {
		this.isStale = true; // so is a page that is under way
		const [first] = this.items;
		// IDs are in order of arrival: what a list had before its event came is counted already.
		if (this.query || !this.isLoaded || (this.total && !(first?.ID < one.ID))) return first?.ID === one.ID || this.refresh();
		this.insert(1);
		this.items[0] = one;
		this.fresh = one.ID;
		this.unread += 1;
		return this.on.change();
	}

	/** Make room on top without moving what is in sight, unless the top is in sight. */
	insert(count) {
		if (!count) return;
		this.items.unshift(...new Array(count));
		for (let at = 0; at < count; at++) delete this.items[at];
		this.setTotal(this.items.length);
		if (this.at >= 0) this.at += count;
		if (this.box.scrollTop > HEIGHT / 2) {
			this.box.scrollTop += count * HEIGHT;
			this.unseenNew += count;
		}
		this.forget();
		this.paint();
	}

	removed(ids) {
		for (const id of ids) {
			const at = this.items.findIndex((one) => one?.ID === id);
			if (at < 0) this.refresh();
			else {
				if (!this.items[at].Read) this.unread -= 1;
				this.items.splice(at, 1);
				if (at < this.at) this.at -= 1;
			}
		}
		this.setTotal(this.items.length);
		this.at = Math.min(this.at, this.total - 1);
		this.paint();
		this.on.change();
	}

	read(ids, isRead) {
		const named = new Set(ids);
		this.items.forEach((one) => {
			if (!named.has(one.ID) || one.Read === isRead) return;
			one.Read = isRead;
			this.unread += isRead ? -1 : 1;
			this.elements.get(one.ID)?.remove();
			this.elements.delete(one.ID);
		});
		this.paint();
		this.on.change();
	}

	// --- painting

	/** The first and last place in sight, and a little more. */
	inSight() {
		const { scrollTop, clientHeight } = this.box;
		return [Math.max(0, Math.floor(scrollTop / HEIGHT) - AROUND), Math.min(this.total, Math.ceil((scrollTop + clientHeight) / HEIGHT) + AROUND)];
	}

	paint() {
		this.painting ||= requestAnimationFrame(() => {
			this.painting = 0;
			this.paintNow();
		});
		return "";
	}

	paintNow() {
		const [first, last] = this.inSight();
		const kept = new Map();
		let above;
		for (let at = first; at < last; at++) {
			const one = this.items[at];
			const key = one?.ID ?? at;
			const row = this.elements.get(key) || (one ? this.row(one) : el("div.row.empty", { role: "presentation" }, el("div"), el("div"), el("div")));
			this.place(row, at, one, above);
			kept.set(key, (above = row));
		}
		for (const [key, row] of this.elements) if (kept.get(key) !== row) row.remove();
		this.elements = kept;
		if (kept.has(this.current?.ID)) this.box.setAttribute("aria-activedescendant", `m-${this.current.ID}`);
		else this.box.removeAttribute("aria-activedescendant");
		if (this.box.scrollTop < HEIGHT / 2) this.unseenNew = 0;
		$("newer").hidden = !this.unseenNew;
		$("newer").textContent = `↑ ${plural(this.unseenNew, "new message")}`;
		clearTimeout(this.filling);
		this.filling = setTimeout(() => this.fill(), 60); // not while scrolling past
	}

	place(row, at, one, above) {
		row.dataset.at = at;
		row.style.top = `${at * HEIGHT}px`;
		if (one) {
			row.ariaSetSize = this.total;
			row.ariaPosInSet = at + 1;
			row.ariaSelected = one.ID === this.opened;
			row.classList.toggle("at", at === this.at);
		}
		// A screen reader follows the document.
		if (!row.isConnected) above ? above.after(row) : this.rows.prepend(row);
	}

	/** Fetch what is in sight and not known. */
	fill() {
		const [first, last] = this.inSight();
		for (let at = first; at < last; at++) if (!this.items[at]) this.fetch(at - (at % PAGE));
		this.forget();
	}

	/** Forget what is far from sight, so that memory does not grow with the list. */
	forget() {
		const [first, last] = this.inSight();
		this.items.forEach((_, at) => {
			if (at < first - REMEMBERED || at > last + REMEMBERED) delete this.items[at];
		});
	}

	row(one) {
		const to = [...one.To, ...one.Cc, ...one.Bcc];
		const others = to.length > 1 ? ` +${number(to.length - 1)}` : "";
		const files = plural(one.Attachments, "attachment");
		return el("div", { role: "option", id: `m-${one.ID}`, class: `row${one.Read ? "" : " unread"}${this.fresh === one.ID ? " new" : ""}` },
			el("div",
				!one.Read && el("span.unseen", "Unread. "),
				el("bdi.from", person(one.From)),
				el("bdi.to", { title: to.slice(0, 20).map((each) => line(each.Address)).join(", ") }, to.length > 0 && `→ ${person(to[0])}${others}`),
				el("time", { datetime: one.Created, title: full(one.Created) }, short(new Date(one.Created)))),
			el("div",
				el("bdi.subject", line(one.Subject) || "(no subject)"),
				one.Tags.slice(0, 3).map((tag) => el("bdi.tag", line(tag))),
				one.Attachments > 0 && el("span", { title: files }, icon("clip"), el("span.unseen", files))),
			el("div", el("bdi.snippet", line(one.Snippet)), el("span.size", size(one.Size))));
	}

	// --- moving

	select(id) {
		this.opened = id;
		const at = this.items.findIndex((one) => one?.ID === id);
		if (at >= 0) this.at = at;
		this.paint();
	}

	move(steps) {
		if (!this.total) return;
		const at = this.at < 0 && steps < 0 ? this.total : this.at;
		this.at = Math.min(this.total - 1, Math.max(0, at + steps));
		const top = this.at * HEIGHT;
		const { scrollTop, clientHeight } = this.box;
		if (top < scrollTop) this.box.scrollTop = top;
		else if (top + HEIGHT > scrollTop + clientHeight) this.box.scrollTop = top + HEIGHT - clientHeight;
		if (this.opened) this.open(this.at, true);
		this.paint();
	}

	open(at = this.at, isMoving = false) {
		if (!this.items[at]) return;
		this.at = at;
		this.on.open(this.items[at].ID, isMoving);
	}
}
