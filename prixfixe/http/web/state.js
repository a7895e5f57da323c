// The corner: whether the server is ready, what its checks say, and the faults that are on.

import { hasToken, headers } from "./api.js";
import { $, el } from "./dom.js";
import { line, plural } from "./text.js";

const EVERY_MS = 15000;
const NAMES = { store: "Store", listeners: "Listeners", draining: "Running", index: "Search index", tls: "Certificate", users: "Users" };
const LOCAL = /^(localhost|127\.[\d.]+|\[::1\]|.+\.localhost)$/;
const OPEN = "Anybody who reaches this port may read and delete this mail. Set SMTP_HTTP_TOKEN to prevent that.";
const WHY = {
	"Store is full": "New mail is deferred until some is deleted, or the disk has room.",
	"Store cannot be written": "New mail is deferred until it can.",
	Stopping: "New mail is not taken.",
};

export class State {
	constructor(tell) {
		this.tell = tell;
		this.hasFaults = true; // until the server says no
		for (const id of ["state", "faults"]) $(id).addEventListener("click", () => this.toggle());
		document.addEventListener("pointerdown", (event) => event.target.closest(".panel, .corner") || this.toggle(false));
		setInterval(() => document.hidden || this.look(), EVERY_MS);
		document.addEventListener("visibilitychange", () => document.hidden || this.look());
		this.look();
	}

	toggle(isOpen = $("state-panel").hidden) {
		$("state-panel").hidden = !isOpen;
		$("state").ariaExpanded = isOpen;
		this.paint();
	}

	async look() {
		const get = async (path) => fetch(path, { headers: headers(), cache: "no-store" });
		try {
			this.ready = await (await get("/readyz")).json();
			const faults = this.hasFaults && (await get("/api/v1/faults"));
			this.hasFaults = faults && (faults.ok || faults.status === 401);
			this.faults = faults.ok ? (await faults.json()).faults : [];
		} catch {
			this.ready = null;
		}
		this.paint();
	}

	get trouble() {
		return Object.entries(this.ready?.checks || {}).filter(([, check]) => !check.ok);
	}

	/** The state in one or two plain words. */
	words() {
		if (!this.ready) return this.ready === null ? ["bad", "Not reachable"] : ["", "Starting"];
		if (!this.trouble.length) return ["good", "Ready"];
		const [[name, check]] = this.trouble;
		if (name === "draining") return ["", "Stopping"];
		if (name === "store") return ["bad", check.detail === "no room" ? "Store is full" : "Store cannot be written"];
		return ["bad", "Not ready"];
	}

	paint() {
		const [kind, words] = this.words();
		$("state").firstElementChild.className = `dot ${kind}`;
		$("state-word").textContent = words;
		$("faults").hidden = !this.hasFaults || !this.faults;
		$("faults").textContent = plural(this.faults?.length || 0, "fault");
		const why = WHY[words] || this.trouble.map(([name, check]) => `${name}: ${line(check.detail)}`).join("; ");
		this.tell({ state: this.trouble.length ? `${words}. ${why}` : "", open: hasToken() || LOCAL.test(location.hostname) ? "" : OPEN });
		if (!$("state-panel").hidden) this.fill(words);
	}

	fill(words) {
		const item = (kind, ...texts) => el("li", el(`span.dot${kind}`), texts.map((text) => el("span", line(text))));
		const checks = Object.entries(this.ready?.checks || {}).map(([name, check]) => item(check.ok ? ".good" : ".bad", NAMES[name] || name, check.detail || "ok"));
		const faults = (this.faults || []).map((one) => item("", faultWords(one)));
		$("state-panel").replaceChildren(
			el("h2", words),
			el("ul", checks),
			this.ready ? el("p", `PrixFixe ${line(this.ready.version)}, store ${line(this.ready.store)}`) : "",
			el("p", hasToken() ? "The token of this tab is in use." : "No token is set: whoever reaches this port may read and delete."),
			...($("faults").hidden ? [] : [el("h2", "Faults"), faults.length ? el("ul", faults) : el("p", "None is set.")]));
	}
}

function faultWords(one) {
	const words = (some) => Object.entries(some).map((pair) => pair.join(" ")).join(", ");
	const match = words(one.Match);
	return `${one.Stage}: ${words(one.Action)}${match && ` for ${match}`} (${plural(one.Hits, "hit")})`;
}
