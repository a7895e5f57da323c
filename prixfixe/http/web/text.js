// What a reader sees of texts that a stranger wrote, and what is found in them.

const MARKS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Show control characters and what turns the direction of text; a lone CR is shown too. */
export function visible(text) {
	return text.replace(/\r\n/g, "\n").replace(/\r/g, "␍").replace(MARKS, (mark) => {
		const code = mark.codePointAt(0);
		if (code < 32) return String.fromCodePoint(0x2400 + code);
		return code === 127 ? "␡" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
	});
}

/** One line for lists and headings. */
export const line = (text) => visible(text.slice(0, 4096).replace(/[\r\n\t]+/g, " ")).trim();

export function size(bytes) {
	if (bytes < 1000) return `${bytes} B`;
	const at = bytes < 1e6 ? 1e3 : 1e6;
	return `${(bytes / at).toFixed(bytes / at < 10 ? 1 : 0)} ${at === 1e3 ? "kB" : "MB"}`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
export function full(when) {
	const time = new Date(when);
	return Number.isNaN(+time) ? line(when) : FULL.format(time);
}

export function short(when, now = new Date()) {
	if (when.toDateString() === now.toDateString()) return CLOCK.format(when);
	const day = DAY.format(when);
	return when.getFullYear() === now.getFullYear() ? day : `${day} ${when.getFullYear()}`;
}

export const number = (count) => count.toLocaleString("en");
export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
export const person = (one) => line(one.Name || one.Address) || "nobody";

const CODE_WORDS = /code|otp|pin\b|passcode|password|one-time|verif|token|security|einmal|c[oó]digo|確認|код/i;
const LINK_WORDS = /confirm|verif|activat|reset|log-?in|sign-?in|magic|invit|accept|token|auth/i;

/** The code that a mail is about: digits near a word that says so. */
export function findCode(text) {
	for (const found of text.slice(0, 200000).matchAll(/(?<![\w.,:/#-])(\d{4,8}|\d{3}[ -]\d{3}|[A-Z]{2,4}-?\d{4,6})(?![\w/]|[.,:-]\d)/g)) {
		const near = text.slice(Math.max(0, found.index - 120), found.index + 80);
		if (CODE_WORDS.test(near)) return found[1].replace(/^(\d{3})[ -](\d{3})$/, "$1$2");
	}
	return "";
}

/** The link that a mail is about: the first that says so, else the first. */
export function findLink(text, html) {
	const found = [...text.slice(0, 200000).matchAll(/https?:\/\/[^\s<>"')\]]{1,2000}/g)].map((one) => one[0].replace(/[.,;:!?]+$/, ""));
	for (const one of html.slice(0, 400000).matchAll(/<a\s[^>]{0,500}?href\s*=\s*["']?(https?:[^"'\s>]{1,2000})/gi)) found.push(one[1].replaceAll("&amp;", "&"));
	const wanted = found.filter((one) => !/unsubscribe|w3\.org/i.test(one));
	return wanted.find((one) => LINK_WORDS.test(one)) || wanted[0] || "";
}

/** Whether HTML refers to what is not in the mail; links do not count. */
export function hasRemote(html) {
	return /(?:\b(?:src|srcset|background|poster|data)\s*=\s*["']?[^"'>]{0,200}?|url\(\s*["']?|@import\s*["']?)(?:https?:)?\/\//i.test(html) || /<link\b[^>]{0,300}href/i.test(html);
}

/** The header fields of a raw message, in order, unfolded. */
export function headerFields(raw) {
	const end = raw.search(/\r?\n\r?\n/);
	const fields = [];
	for (const one of raw.slice(0, end < 0 ? raw.length : end).split(/\r?\n/)) {
		if (/^[ \t]/.test(one) && fields.length) fields.at(-1)[1] += `\n${one.trim()}`;
		else {
			const at = one.indexOf(":");
			fields.push(at > 0 ? [one.slice(0, at), one.slice(at + 1).trim()] : ["", one]);
		}
	}
	return fields;
}
