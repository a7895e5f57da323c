// Calls every command of npm's cypress-mailpit at the server of the first argument.
// Cypress is not here: `cy` and `Cypress` are a stand-in that has what the commands use.
// The mail that is there is what test_mailpit_clients.py sends.

import assert from "node:assert/strict";
import { register } from "node:module";
import { report } from "./outcomes.mjs";

const added = {};
globalThis.Cypress = {
  expose: (name) => (name === "MAILPIT_URL" ? process.argv[2] : undefined),
  config: () => 20000,
  Commands: { add: (name, options, command) => (added[name] = command) },
};
globalThis.cy = {
  env: async () => ({}),
  wrap: async (value) => value,
  wait: (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
  async request({ method, url, qs, body }) {
    const asked = new URL(url);
    for (const [name, value] of Object.entries(qs ?? {})) asked.searchParams.set(name, value);
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const answer = await fetch(asked, { method, headers, body: JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${answer.status} at ${method} ${asked}: ${text}`);
    const isJson = answer.headers.get("content-type").includes("json");
    return { status: answer.status, body: isJson ? JSON.parse(text) : text };
  },
};
register("./as_bundled.mjs", import.meta.url);
await import("cypress-mailpit");

const one = async (subject) => {
  const found = await added.mailpitGetEmailsBySubject(subject);
  return added.mailpitGetMail(found.messages[0].ID);
};
const total = async () => (await added.mailpitGetAllMails()).total;
const unread = async () => (await added.mailpitGetAllMails()).unread;
const soon = { interval: 50 };

const checks = {
  async mailpitGetAllMails() {
    assert.equal((await added.mailpitGetAllMails()).messages.length, 3);
    assert.equal((await added.mailpitGetAllMails(1, 1)).messages[0].Subject, "Plain");
  },
  async mailpitGetMail() {
    assert.equal((await added.mailpitGetMail()).Subject, "Newest");
    assert.equal((await one("Welcome")).Text, "Your code is 123456.\n");
  },
  async mailpitSearchEmails() {
    assert.equal((await added.mailpitSearchEmails("123456")).messages[0].Subject, "Welcome");
    assert.equal((await added.mailpitSearchEmails("has:attachment", 0, 5)).messages_count, 1);
  },
  async mailpitGetEmailsBySubject() {
    assert.equal((await added.mailpitGetEmailsBySubject("Plain")).messages_count, 1);
  },
  async mailpitGetEmailsByTo() {
    assert.equal((await added.mailpitGetEmailsByTo("bob@example.test")).messages_count, 1);
  },
  async mailpitHasEmailsBySearch() {
    await added.mailpitHasEmailsBySearch("subject:Plain", 0, 50, soon);
  },
  async mailpitNotHasEmailsBySearch() {
    await added.mailpitNotHasEmailsBySearch("subject:nothing", 0, 50, soon);
  },
  async mailpitHasEmailsBySubject() {
    await added.mailpitHasEmailsBySubject("Plain", 0, 50, soon);
  },
  async mailpitNotHasEmailsBySubject() {
    await added.mailpitNotHasEmailsBySubject("nothing", 0, 50, soon);
  },
  async mailpitHasEmailsByTo() {
    await added.mailpitHasEmailsByTo("bob@example.test", 0, 50, soon);
  },
  async mailpitNotHasEmailsByTo() {
    await added.mailpitNotHasEmailsByTo("nobody@example.test", 0, 50, soon);
  },
  async mailpitSendMail() {
    const { ID } = await added.mailpitSendMail({ subject: "Sent", to: [{ Email: "sent@y.test" }] });
    await added.mailpitHasEmailsByTo("sent@y.test", 0, 50, soon);
    assert.equal((await added.mailpitGetMail(ID)).Subject, "Sent");
    await added.mailpitDeleteEmailsBySearch("to:sent@y.test");
  },
  async mailpitGetSubject() {
    assert.equal(await added.mailpitGetSubject(await one("Plain")), "Plain");
  },
  async mailpitGetFromAddress() {
    assert.equal(await added.mailpitGetFromAddress(await one("Welcome")), "alice@example.test");
  },
  async mailpitGetRecipientAddress() {
    const found = await added.mailpitGetRecipientAddress(await one("Welcome"));
    assert.deepEqual(found, ["bob@example.test"]);
  },
  async mailpitGetAttachments() {
    assert.deepEqual(await added.mailpitGetAttachments(await one("Welcome")), ["terms.pdf"]);
  },
  async mailpitGetMailHTMlBody() {
    assert.match(await added.mailpitGetMailHTMlBody(await one("Welcome")), /<b>123456<\/b>/);
  },
  async mailpitGetMailTextBody() {
    assert.match(await added.mailpitGetMailTextBody(await one("Welcome")), /code is 123456/);
  },
  async mailpitGetMailSpamAssassinSummary() {
    const found = await added.mailpitGetMailSpamAssassinSummary(await one("Welcome"));
    assert.equal(typeof found.IsSpam, "boolean");
  },
  async mailpitGetMailSpamAssainSummary() {
    const found = await added.mailpitGetMailSpamAssainSummary(await one("Welcome"));
    assert.equal(typeof found.IsSpam, "boolean");
  },
  async mailpitSetAllEmailStatusAsRead() {
    await added.mailpitSetAllEmailStatusAsRead();
    assert.equal(await unread(), 0);
  },
  async mailpitSetAllEmailStatusAsUnRead() {
    await added.mailpitSetAllEmailStatusAsUnRead();
    assert.equal(await unread(), 3);
  },
  async mailpitSetStatusAsRead() {
    await added.mailpitSetAllEmailStatusAsUnRead();
    await added.mailpitSetStatusAsRead((await added.mailpitGetEmailsBySubject("Plain")).messages);
    assert.equal(await unread(), 2);
  },
  async mailpitSetStatusAsUnRead() {
    await added.mailpitSetAllEmailStatusAsRead();
    await added.mailpitSetStatusAsUnRead(await one("Plain"));
    assert.equal(await unread(), 1);
  },
  async mailpitDeleteEmailsBySearch() {
    await added.mailpitDeleteEmailsBySearch("subject:Plain");
    assert.equal(await total(), 2);
  },
  async mailpitDeleteAllEmails() {
    await added.mailpitDeleteAllEmails();
    assert.equal(await total(), 0);
  },
};

const last = ["mailpitDeleteEmailsBySearch", "mailpitDeleteAllEmails"];
const methods = Object.keys(added).filter((name) => !last.includes(name));
await report([...methods, ...last], checks);
