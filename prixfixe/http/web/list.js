// The list: of thousands of rows only those in sight exist, and only some hundreds are remembered.

import { json } from "./api.js";
import { $, el, icon } from "./dom.js";
import { full, line, number, person, plural, short, size } from "./text.js";

const HEIGHT = 88;
const PAGE = 50;
const AROUND = 4; // rows beyond what is in sight
const REMEMBERED = 600;
const REFRESH_MS = 250;

export class List {
	/** `onOpen(id)` and `onChange()` are called when a row is opened, and when counts change. */
	constructor({ onOpen, onChange }) {
		this.box = $("list");
		this.rows = $("rows");
		this.onOpen = onOpen;
		this.onChange = onChange;
		this.query = "";
		this.unread = 0;
		this.error = "";
		this.isLoaded = false;
		this.opened = "";
		this.at = -1;
		this.unseenNew = 0;
		this.clear();
		this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
		new ResizeObserver(() => this.paint()).observe(this.box);
		this.box.addEventListener("click", (event) => {
			const row = event.target.closest(".row[data-at]");
			if (row) this.open(Number(row.dataset.at));
		});
		$("newer").addEventListener("click", () => this.toTop());
		setInterval(() => this.paint(), 60000); // "14:05" becomes a day at midnight
	}

	clear() {
		this.items = [];
		this.total = 0;
		this.elements = new Map();
		this.rows.replaceChildren();
		this.loading = new Map();
	}

	// --- reading

	async load(query) {
		this.query = query;
		this.generation = (this.generation || 0) + 1;
		this.clear();
		this.error = "";
		this.isLoaded = false;
		this.at = -1;
		this.unseenNew = 0;
		this.box.scrollTop = 0;
		await this.fetch(0);
	}

	path(start, limit) {
		const bounds = `start=${start}&limit=${limit}`;
		return this.query ? `/api/v1/search?query=${encodeURIComponent(this.query)}&${bounds}` : `/api/v1/messages?${bounds}`;
	}

	async fetch(start) {
		if (this.loading.has(start)) return;
		const generation = this.generation;
		this.loading.set(start, true);
		try {
			const page = await json(this.path(start, PAGE));
			if (generation !== this.generation) return;
			this.take(page, start);
		} catch (error) {
			if (generation !== this.generation) return;
			if (error.status === 400 || !this.isLoaded) this.error = error.message || "The server cannot be reached.";
		} finally {
			if (generation === this.generation) {
				this.loading.delete(start);
				this.isLoaded = true;
				this.paint();
				this.onChange();
			}
		}
	}

	/** Put a page where it belongs; mail that came meanwhile is told by an event of its own. */
	take(page, start) {
		const before = this.total;
		const came = this.isLoaded && before ? page.messages_count - before : 0;
		if (came < 0 || !this.isLoaded || !before) this.setTotal(page.messages_count);
		const shift = Math.max(0, came);
		page.messages.forEach((one, at) => {
			const place = start + at - shift;
			if (place >= 0 && place < this.total) this.items[place] = one;
		});
		this.unread = page.unread;
		this.notIndexed = page.NotIndexed || 0;
		if (shift) this.refresh();
	}

	setTotal(total) {
		this.total = total;
		this.items.length = total;
		this.rows.style.height = `${total * HEIGHT}px`;
	}

	/** Look at the newest again, soon, and keep what is in sight where it is. */
	refresh() {
		if (this.refreshing) {
			this.isStale = true;
			return;
		}
		const generation = this.generation;
		this.refreshing = setTimeout(async () => {
			this.isStale = false;
			try {
				const page = await json(this.path(0, PAGE));
				if (generation === this.generation) this.merge(page);
			} catch {
				// The lost connection is told elsewhere.
			}
			this.refreshing = null;
			if (this.isStale) this.refresh();
		}, REFRESH_MS);
	}

	merge(page) {
		const known = new Map(this.items.slice(0, REMEMBERED).map((one, at) => [one?.ID, at]));
		const at = page.messages.findIndex((one) => known.has(one.ID));
		const came = page.messages_count - this.total;
		const first = at >= 0 ? at - known.get(page.messages[at].ID) : came;
		if (came !== first || first < 0) this.forgetAll(page.messages_count);
		else if (first > 0) this.insert(new Array(first).fill(undefined));
		page.messages.forEach((one, place) => {
			this.items[place] = one;
		});
		this.unread = page.unread;
		this.notIndexed = page.NotIndexed || 0;
		this.error = "";
		this.paint();
		this.onChange();
	}

	forgetAll(total) {
		this.items = [];
		this.setTotal(total);
		this.at = this.items.findIndex((one) => one?.ID === this.opened);
	}

	// --- what happens elsewhere

	arrived(one) {
		if (this.query) {
			this.refresh();
			return;
		}
		for (let at = 0; at < Math.min(this.total, 2 * PAGE); at++) if (this.items[at]?.ID === one.ID) return;
		this.insert([one]);
		this.unread += 1;
		this.paint();
		this.onChange();
	}

	/** Put rows on top without moving what is in sight, unless the top is in sight. */
	insert(some) {
		const isAtTop = this.box.scrollTop < HEIGHT / 2;
		this.fresh = new Set(some.map((one) => one?.ID));
		this.items.unshift(...some);
		this.setTotal(this.total + some.length);
		if (this.at >= 0) this.at += some.length;
		if (!isAtTop) {
			this.box.scrollTop += some.length * HEIGHT;
			this.unseenNew += some.length;
		}
		this.forget();
	}

	removed(ids) {
		const gone = new Set(ids);
		const places = [];
		this.items.forEach((one, at) => gone.has(one.ID) && places.push(at));
		if (places.length < gone.size && (this.query || gone.size > 1 || places.length)) this.refresh();
		if (places.length === 0) {
			if (!this.query) this.refresh();
			return;
		}
		for (const at of places.reverse()) {
			if (!this.items[at].Read) this.unread = Math.max(0, this.unread - 1);
			this.items.splice(at, 1);
			if (at < this.at || this.at >= this.items.length) this.at -= 1;
		}
		this.setTotal(this.total - places.length);
		this.paint();
		this.onChange();
	}

	read(ids, isRead) {
		const named = new Set(ids);
		this.items.forEach((one) => {
			if (!named.has(one.ID) || one.Read === isRead) return;
			one.Read = isRead;
			this.unread = Math.max(0, this.unread + (isRead ? -1 : 1));
			this.elements.get(one.ID)?.remove();
			this.elements.delete(one.ID);
		});
		this.paint();
		this.onChange();
	}

	// --- painting

	scrolled() {
		this.paint();
		if (this.box.scrollTop < HEIGHT / 2 && this.unseenNew) {
			this.unseenNew = 0;
			this.paint();
		}
	}

	toTop() {
		this.unseenNew = 0;
		this.box.scrollTop = 0;
		this.box.focus();
		this.paint();
	}

	paint() {
		if (this.painting) return;
		this.painting = requestAnimationFrame(() => {
			this.painting = 0;
			this.paintNow();
		});
	}

	/** The first and last place in sight, and a little more. */
	inSight() {
		const first = Math.floor(this.box.scrollTop / HEIGHT) - AROUND;
		const last = Math.ceil((this.box.scrollTop + this.box.clientHeight) / HEIGHT) + AROUND;
		return [Math.max(0, first), Math.min(this.total, last)];
	}

	paintNow() {
		const [first, last] = this.inSight();
		const kept = new Map();
		for (let at = first; at < last; at++) {
			const one = this.items[at];
			const key = one ? one.ID : `empty ${at}`;
			const row = this.elements.get(key) || (one ? this.row(one) : el("div.row.empty", { role: "presentation" }, el("div"), el("div"), el("div")));
			row.dataset.at = at;
			row.style.top = `${at * HEIGHT}px`;
			if (one) {
				row.setAttribute("aria-setsize", this.total);
				row.setAttribute("aria-posinset", at + 1);
				row.setAttribute("aria-selected", String(one.ID === this.opened));
				row.classList.toggle("at", at === this.at);
			}
			kept.set(key, row);
			if (!row.isConnected) this.rows.append(row);
		}
		for (const [key, row] of this.elements) if (kept.get(key) !== row) row.remove();
		this.elements = kept;
		this.fresh = null;
		const active = this.items[this.at];
		if (active && kept.has(active.ID)) this.box.setAttribute("aria-activedescendant", `m-${active.ID}`);
		else this.box.removeAttribute("aria-activedescendant");
		const newer = $("newer");
		newer.hidden = !this.unseenNew;
		newer.textContent = `↑ ${plural(this.unseenNew, "new message")}`;
		clearTimeout(this.filling);
		this.filling = setTimeout(() => this.fill(), 60);
	}

	/** Fetch what is in sight and not known. */
	fill() {
		const [first, last] = this.inSight();
		for (let at = first; at < last; at++) {
			if (!this.items[at]) {
				this.fetch(Math.floor(at / PAGE) * PAGE);
				at = (Math.floor(at / PAGE) + 1) * PAGE - 1;
			}
		}
		this.forget();
	}

	/** Forget what is far from sight, so that memory does not grow with the list. */
	forget() {
		const [first, last] = this.inSight();
		const known = Object.keys(this.items);
		if (known.length <= REMEMBERED) return;
		for (const key of known) {
			const at = Number(key);
			if (at < first - REMEMBERED / 4 || at > last + REMEMBERED / 4) delete this.items[at];
		}
	}

	row(one) {
		const when = new Date(one.Created);
		const to = [...one.To, ...one.Cc, ...one.Bcc];
		const others = to.length > 1 ? ` +${number(to.length - 1)}` : "";
		return el(
			"div",
			{
				role: "option",
				id: `m-${one.ID}`,
				class: `row${one.Read ? "" : " unread"}${this.fresh?.has(one.ID) ? " new" : ""}`,
			},
			el(
				"div",
				!one.Read && el("span.unseen", "Unread. "),
				el("bdi.from", person(one.From)),
				el("bdi.to", { title: to.map((each) => line(each.Address)).join(", ").slice(0, 500) }, to.length ? `→ ${person(to[0])}${others}` : ""),
				el("time", { datetime: one.Created, title: full(when) }, short(when)),
			),
			el(
				"div",
				el("bdi.subject", line(one.Subject) || "(no subject)"),
				one.Tags.slice(0, 3).map((tag) => el("bdi.tag", line(tag))),
				one.Attachments > 0 && el("span", { title: plural(one.Attachments, "attachment") }, icon("clip"), el("span.unseen", plural(one.Attachments, "attachment"))),
			),
			el("div", el("bdi.snippet", line(one.Snippet)), el("span.size", size(one.Size))),
		);
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
		this.at = Math.min(this.total - 1, Math.max(0, this.at < 0 ? (steps > 0 ? 0 : this.total - 1) : this.at + steps));
		this.show(this.at);
		if (this.opened && this.items[this.at]) this.onOpen(this.items[this.at].ID, true);
		this.paint();
	}

	show(at) {
		const top = at * HEIGHT;
		if (top < this.box.scrollTop) this.box.scrollTop = top;
		else if (top + HEIGHT > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + HEIGHT - this.box.clientHeight;
	}

	open(at = this.at) {
		const one = this.items[at];
		if (!one) return;
		this.at = at;
		this.onOpen(one.ID);
	}

	get current() {
		return this.items[this.at];
	}
}
