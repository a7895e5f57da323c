// The corner: whether the server is ready, what its checks say, and the faults that are on.

import { hasToken, headers } from "./api.js";
import { $, el } from "./dom.js";
import { line, plural } from "./text.js";

const EVERY_MS = 15000;
const WORDS = { store: "Store", listeners: "Listeners", draining: "Stopping", index: "Search index", tls: "Certificate", users: "Users" };
const LOCAL = /^(localhost|127\.[\d.]+|\[::1\]|.+\.localhost)$/;

export class State {
	constructor() {
		this.checks = {};
		this.isUp = null;
		this.faults = null;
		$("state").addEventListener("click", () => this.toggle());
		$("faults").addEventListener("click", () => this.toggle());
		document.addEventListener("pointerdown", (event) => {
			if (!event.target.closest(".panel, .corner")) this.toggle(false);
		});
		setInterval(() => document.hidden || this.look(), EVERY_MS);
		document.addEventListener("visibilitychange", () => document.hidden || this.look());
	}

	toggle(isOpen = $("state-panel").hidden) {
		$("state-panel").hidden = !isOpen;
		$("state").setAttribute("aria-expanded", String(isOpen));
		if (isOpen) this.paint();
		return isOpen;
	}

	async look() {
		try {
			const answer = await fetch("/readyz", { cache: "no-store" });
			this.ready = await answer.json();
			this.isUp = true;
		} catch {
			this.isUp = false;
		}
		await this.lookAtFaults();
		this.paint();
	}

	async lookAtFaults() {
		try {
			const answer = await fetch("/api/v1/faults", { headers: headers(), cache: "no-store" });
			const found = answer.ok ? await answer.json() : null;
			this.faults = found && (Array.isArray(found) ? found : found.Faults || found.faults || []);
		} catch {
			this.faults = null;
		}
	}

	lost(isLost) {
		if (isLost) this.isUp = false;
		this.look();
	}

	get trouble() {
		return Object.entries(this.ready?.checks || {}).filter(([, check]) => !check.ok);
	}

	/** The state in one or two plain words. */
	get words() {
		if (this.isUp === false) return ["bad", "Not reachable"];
		if (!this.ready) return ["wait", "Starting"];
		if (!this.trouble.length) return ["good", "Ready"];
		const [[name, { detail }]] = this.trouble;
		if (name === "store") return ["bad", /room|full/.test(detail) ? "Store is full" : "Store cannot be written"];
		if (name === "draining") return ["wait", "Stopping"];
		return ["bad", "Not ready"];
	}

	paint() {
		const [kind, words] = this.words;
		$("state").firstElementChild.className = `dot ${kind}`;
		$("state-word").textContent = words;
		const faults = $("faults");
		faults.hidden = this.faults === null;
		faults.textContent = this.faults === null ? "" : plural(this.faults.length, "fault");
		this.notice();
		if (!$("state-panel").hidden) this.fill(words);
	}

	/** What everybody should see at once: why no mail is taken, and that anybody may read. */
	notice() {
		const told = [];
		if (this.isUp && this.trouble.length) {
			const [, words] = this.words;
			const why = words === "Store is full" ? "There is no room left: new mail is deferred with 452 until some is deleted or the disk has room." : words === "Store cannot be written" ? "New mail is deferred until the store can be written again." : `New mail may not be taken: ${this.trouble.map(([name, check]) => `${name}: ${line(check.detail)}`).join("; ")}.`;
			told.push(["state", `${words}. ${why}`]);
		}
		if (this.isUp && !hasToken() && this.isOpenToAll) told.push(["open", "Anybody who reaches this port may read and delete this mail. Set SMTP_HTTP_TOKEN to prevent that."]);
		this.onNotices?.(told);
	}

	get isOpenToAll() {
		return !LOCAL.test(location.hostname);
	}

	fill(words) {
		const panel = $("state-panel");
		const checks = Object.entries(this.ready?.checks || {}).map(([name, check]) => el("li", el("span", { class: `dot ${check.ok ? "good" : "bad"}` }), el("span", WORDS[name] || name), el("span", line(String(check.detail || (check.ok ? "ok" : "not ok"))))));
		const rows = [el("h2", words), el("ul", checks)];
		if (this.ready) rows.push(el("p", `PrixFixe ${line(String(this.ready.version))}, store ${line(String(this.ready.store))}`));
		rows.push(el("p", hasToken() ? "The token of this tab is in use." : "No token is set: whoever reaches this port may read and delete."));
		if (this.faults) rows.push(el("h2", "Faults"), this.faults.length ? el("ul", this.faults.map((one) => el("li", el("span.dot.wait"), el("span", line(faultWords(one)))))) : el("p", "None is active."));
		panel.replaceChildren(...rows);
	}
}

function faultWords(one) {
	const match = Object.entries(one.match || one.Match || {}).map(([name, value]) => `${name} ${value}`).join(", ");
	const action = Object.entries(one.action || one.Action || {}).map(([name, value]) => `${name} ${value}`).join(", ");
	const hits = one.hits ?? one.Hits;
	return `${one.stage || one.Stage}: ${action}${match && ` for ${match}`}${hits === undefined ? "" : ` (${plural(hits, "hit")})`}`;
}
