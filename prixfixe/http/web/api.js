// Requests. The token goes in a header, and is kept for this tab only.

import { ask, el } from "./dom.js";

const KEY = "prixfixe-token";
const COOKIE_MS = 30 * 60 * 1000;
let token = sessionStorage.getItem(KEY) || "";
let asking = null;
let cookieSince = 0;

export const hasToken = () => token !== "";
export const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

export class ApiError extends Error {
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}

/** Ask for the token, once for all who wait for it. */
export function askForToken() {
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
export async function request(path, { method = "GET", body, signal, more = {} } = {}) {
	for (;;) {
		const sent = { ...headers(), ...more, ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
		const used = token;
		const answer = await fetch(path, {
			method,
			body: body === undefined ? undefined : JSON.stringify(body),
			headers: sent,
			signal,
			cache: "no-store",
			credentials: "same-origin",
			redirect: "error",
		});
		if (answer.status === 401) {
			if (used === token) await askForToken();
			continue;
		}
		if (answer.ok) return answer;
		let words = answer.statusText;
		try {
			words = (await answer.json()).Error || words;
		} catch {
			// Not from this server: a proxy's words are of no use here.
		}
		throw new ApiError(answer.status, words);
	}
}

export const json = async (path, options) => (await request(path, options)).json();

/** Read the beginning of an answer as bytes; `isWhole` says whether that is all. */
export async function beginning(path, most, signal) {
	const answer = await request(path, { signal });
	const reader = answer.body.getReader();
	const pieces = [];
	let length = 0;
	for (;;) {
		const { done, value } = await reader.read();
		if (done) break;
		pieces.push(value);
		length += value.length;
		if (length > most) {
			reader.cancel().catch(() => {});
			break;
		}
	}
	const bytes = new Uint8Array(Math.min(length, most));
	let at = 0;
	for (const piece of pieces) {
		bytes.set(piece.subarray(0, bytes.length - at), at);
		at += Math.min(piece.length, bytes.length - at);
	}
	return { text: new TextDecoder().decode(bytes), isWhole: length <= most };
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
