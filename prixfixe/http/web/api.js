// Requests. The token goes in a header, and is kept for this tab only.

import { ask, el } from "./dom.js";

const KEY = "prixfixe-token";
const COOKIE_MS = 30 * 60 * 1000;
let token = sessionStorage.getItem(KEY) || "";
let asking = null;
let cookieSince = 0;

export const hasToken = () => token !== "";
export const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** Ask for the token, once for all who wait for it. */
function askForToken() {
	asking ??= (async () => {
		const wrong = token !== "";
		const input = el("input", { id: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
		const body = [
			el("p", "This server asks for its token, the value of ", el("code", "SMTP_HTTP_TOKEN"), ". It is kept until this tab is closed."),
			wrong && el("p.fault", { role: "alert" }, "The token was not accepted."),
			el("label", { for: "token" }, "Token"),
			input,
		].filter(Boolean);
		const isGiven = await ask("Token", el("div", body), { yes: "Open the inbox", no: "" });
		if (isGiven && input.value.trim()) {
			token = input.value.trim();
			sessionStorage.setItem(KEY, token);
			cookieSince = 0;
		}
		asking = null;
	})();
	return asking;
}

/** Return an answer that is good, or throw what went wrong in words. */
export async function request(path, { method, body, signal, more } = {}) {
	for (;;) {
		const used = token;
		const kind = body && { "Content-Type": "application/json" };
		const options = { method, signal, body: body && JSON.stringify(body), headers: { ...headers(), ...kind, ...more }, cache: "no-store", redirect: "error" };
		const answer = await fetch(path, options).catch(() => {
			throw new Error("The server cannot be reached.");
		});
		if (answer.ok) return answer;
		if (answer.status !== 401) {
			const { Error: words = answer.statusText } = await answer.json().catch(() => ({}));
			throw Object.assign(new Error(words), { status: answer.status });
		}
		if (used === token) await askForToken(); // Another request may have asked meanwhile.
	}
}

export const json = async (path, options) => (await request(path, options)).json();

/** Read the beginning of an answer as text; `isWhole` says whether that is all. */
export async function beginning(path, most, signal) {
	const reader = (await request(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
	for (let text = ""; ; ) {
		const { done, value } = await reader.read();
		if (done) return { text, isWhole: true };
		text += value;
		if (text.length <= most) continue;
		reader.cancel().catch(() => {});
		return { text: text.slice(0, most), isWhole: false };
	}
}

/** Let frames load mail: they send no header, so the token is exchanged for a cookie. */
export async function openViews() {
	if (!token || Date.now() - cookieSince < COOKIE_MS) return;
	await request("/view/access", { method: "POST" });
	cookieSince = Date.now();
}

/** Save what a path answers under a name. */
export async function save(path, name) {
	const answer = await request(path);
	const url = URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: "application/octet-stream" }));
	const link = el("a", { href: url, download: name, hidden: true });
	document.body.append(link);
	link.click();
	link.remove();
	setTimeout(() => URL.revokeObjectURL(url), 30000);
}
