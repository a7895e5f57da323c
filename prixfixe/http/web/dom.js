// Elements without markup: text goes in as text, and there is no other way in.

import { visible } from "./text.js";

export const $ = (id) => document.getElementById(id);

/** Make an element, as `el("p.class", {attributes}, children)`; `on…` are listeners, children text or nodes. */
export function el(name, attributes, ...children) {
	const [tag, ...classes] = name.split(".");
	const made = document.createElement(tag);
	made.classList.add(...classes);
	if (attributes?.constructor !== Object) children.unshift(attributes);
	else
		for (const [key, value] of Object.entries(attributes)) {
			if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
			else if (value !== false && value != null) made.setAttribute(key, value === true ? "" : value);
		}
	made.append(...children.flat(3).filter((one) => one != null && one !== false));
	return made;
}

/** Something that scrolls, and so can be reached by keys. */
export const region = (tag, label, ...children) => el(`${tag}.written`, { tabindex: 0, role: "region", "aria-label": label }, children);
export const blank = (...children) => el("div.blank", ...children);

const PATHS = {
	back: "M12 4 6 10l6 6",
	bin: "M4 6h12M8 6V4h4v2M6 6l.7 10.500h6.600L14 6M8.500 9v5M11.500 9v5",
	clip: "m14.500 9-5 5a3 3 0 0 1-4.300-4.300l6-6a2 2 0 0 1 2.900 2.900l-5.800 5.700a1 1 0 0 1-1.400-1.400l5-5",
	code: "M7 6 3 10l4 4M13 6l4 4-4 4",
	copy: "M7 7h9v9H7zM4 13V4h9",
	file: "M6 3h5l4 4v10H6zM11 3v4h4",
	link: "M8.500 11.500a3 3 0 0 0 4.300 0l2.400-2.400a3 3 0 0 0-4.300-4.300l-1 1m1.600 2.700a3 3 0 0 0-4.300 0l-2.400 2.400a3 3 0 0 0 4.300 4.300l1-1",
	open: "M3 6h14v9H3zM3 6.500l7 5 7-5",
	save: "M10 3v9m-3.500-3.500L10 12l3.500-3.500M4 16h12",
};

export function icon(name) {
	const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
	svg.setAttribute("viewBox", "0 0 20 20");
	svg.setAttribute("aria-hidden", "true");
	const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
	path.setAttribute("d", PATHS[name]);
	svg.append(path);
	return svg;
}

export function button(label, { icon: name, ...attributes } = {}) {
	return el("button", { type: "button", ...attributes }, name && icon(name), el("span", label));
}

/** A table of names and what they are; all of it is a stranger's text. */
export const table = (rows) => el("table", el("tbody", rows.map(([name, value]) => el("tr", el("th", { scope: "row" }, visible(name)), el("td", el("bdi", visible(`${value}`)))))));

/** Make a listener that says what went wrong. */
export const tried = (work) => async () => {
	try {
		return await work();
	} catch (error) {
		toast(error.message);
		return null;
	}
};

let fading;
export function toast(text) {
	$("toast").textContent = text;
	clearTimeout(fading);
	fading = setTimeout(() => $("toast").replaceChildren(), 4000);
}

/** Ask in a dialog; the promise is true for yes. */
export function ask(title, body, { yes, isDanger = false, no = "Cancel" }) {
	return new Promise((done) => {
		const before = document.activeElement;
		const form = el("form", { method: "dialog" }, el("h2", { id: "asked" }, title), body);
		const dialog = el("dialog", { "aria-labelledby": "asked" }, form);
		const accept = el("button", { type: "submit", class: isDanger ? "main danger" : "main" }, yes);
		form.append(el("div.actions", no && button(no, { onclick: () => dialog.close() }), accept));
		form.addEventListener("submit", (event) => {
			event.preventDefault();
			dialog.close("yes");
		});
		dialog.addEventListener("close", () => {
			dialog.remove();
			before?.focus?.();
			done(dialog.returnValue === "yes");
		});
		document.body.append(dialog);
		dialog.showModal();
		(form.querySelector("input") || accept).focus({ preventScroll: true });
	});
}

export async function copy(text, what) {
	try {
		await navigator.clipboard.writeText(text);
	} catch {
		// Outside a secure context there is no clipboard but this.
		const area = el("textarea.unseen", { "aria-hidden": "true" });
		area.value = text;
		document.body.append(area);
		area.select();
		document.execCommand("copy");
		area.remove();
	}
	toast(`${what} copied`);
}
