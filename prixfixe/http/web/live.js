// Events by a streaming fetch, since an EventSource cannot send the token in a header.

import { request } from "./api.js";

const SILENCE_MS = 40000; // the server says something every 15 seconds
const FIRST_MS = 500;
const LONGEST_MS = 10000;

/** Read server-sent events for ever; `on` has `event(name, data)`, `up(isBack)` and `down(words)`. */
export async function listen(on) {
	let last = "";
	let wait = FIRST_MS;
	let wasDown = false;
	for (;;) {
		let words = "The connection is lost.";
		const stop = new AbortController();
		const alive = () => {
			clearTimeout(silence);
			silence = setTimeout(() => stop.abort(), SILENCE_MS);
		};
		let silence;
		alive();
		try {
			const answer = await request("/api/v1/events", { signal: stop.signal, more: last && { "Last-Event-ID": last } });
			on.up(wasDown);
			wasDown = false;
			wait = FIRST_MS;
			for await (const event of events(answer.body)) {
				alive();
				last = event.id || last;
				if (event.name) on.event(event.name, JSON.parse(event.data));
			}
		} catch (error) {
			if (error.status === 400) last = "";
			if (error.status === 503) words = "The server takes no more listeners.";
		}
		clearTimeout(silence);
		wasDown = true;
		on.down(words);
		await pause(wait * (0.75 + Math.random() / 2));
		wait = Math.min(LONGEST_MS, wait * 2);
	}
}

/** Wait, but go on at once when the machine is back in a network. */
function pause(milliseconds) {
	return new Promise((done) => {
		const timer = setTimeout(go, milliseconds);
		function go() {
			clearTimeout(timer);
			removeEventListener("online", go);
			done();
		}
		addEventListener("online", go);
	});
}

async function* events(body) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let held = "";
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return;
		const blocks = (held + value).split("\n\n");
		held = blocks.pop();
		for (const block of blocks) {
			const event = { name: "", id: "", data: "" };
			for (const one of block.split("\n")) {
				if (one.startsWith("event: ")) event.name = one.slice(7);
				else if (one.startsWith("id: ")) event.id = one.slice(4);
				else if (one.startsWith("data: ")) event.data += one.slice(6);
			}
			yield event;
		}
	}
}
