// Calls every method of npm's mailpit-api at the server of the first argument.
// The mail that is there is what test_mailpit_clients.py sends.

import assert from "node:assert/strict";
import { MailpitClient } from "mailpit-api";
import { report } from "./outcomes.mjs";

const client = new MailpitClient(process.argv[2]);
const find = async (query) => (await client.searchMessages({ query })).messages;
const welcome = async () => (await find("subject:Welcome"))[0].ID;
const plain = async () => (await find("subject:Plain"))[0].ID;

const checks = {
  async getInfo() {
    const info = await client.getInfo();
    assert.equal(info.Messages, 3);
    assert.equal(info.RuntimeStats.SMTPAccepted, 3);
    assert.equal(typeof info.Tags, "object");
    for (const name of ["Memory", "MessagesDeleted", "SMTPAcceptedSize", "SMTPRejected", "Uptime"])
      assert.equal(typeof info.RuntimeStats[name], "number", name);
  },
  async getConfiguration() {
    assert.equal(typeof (await client.getConfiguration()), "object");
  },
  async getMessageSummary() {
    const message = await client.getMessageSummary(await welcome());
    assert.equal(message.Subject, "Welcome");
    assert.deepEqual(message.From, { Name: "Alice", Address: "alice@example.test" });
    assert.equal(message.Text, "Your code is 123456.\n");
    assert.match(message.HTML, /<b>123456<\/b>/);
    assert.deepEqual(message.Attachments.map((one) => one.FileName), ["terms.pdf"]);
    assert.deepEqual(message.Inline.map((one) => one.ContentID), ["logo"]);
    assert.equal(message.Attachments[0].Checksums.SHA256.length, 64);
    assert.equal((await client.getMessageSummary()).Subject, "Newest");
  },
  async getMessageHeaders() {
    assert.deepEqual((await client.getMessageHeaders(await welcome())).Subject, ["Welcome"]);
  },
  async getMessageAttachment() {
    const message = await client.getMessageSummary(await welcome());
    const blob = await client.getMessageAttachment(message.ID, message.Attachments[0].PartID);
    assert.equal(blob.type, "application/pdf");
    assert.equal(await blob.text(), "%PDF-1.7");
  },
  async getAttachmentThumbnail() {
    const message = await client.getMessageSummary(await welcome());
    const blob = await client.getAttachmentThumbnail(message.ID, message.Inline[0].PartID);
    assert.equal(blob.type, "image/jpeg");
  },
  async getMessageSource() {
    assert.match(await client.getMessageSource(await welcome()), /^Subject: Welcome\r?$/m);
  },
  async releaseMessage() {
    assert.equal(await client.releaseMessage(await welcome(), ["x@example.test"]), "ok");
  },
  async sendMessage() {
    const { ID } = await client.sendMessage({
      From: { Email: "sender@example.test", Name: "Sender" },
      To: [{ Email: "sent@example.test", Name: "Recipient" }],
      Subject: "Sent",
      Text: "by the API",
    });
    const message = await client.waitForMessage({ query: "to:sent@example.test" });
    assert.equal(message.ID, ID);
    assert.equal(message.Text.trim(), "by the API");
    await client.deleteMessages({ IDs: [ID] });
  },
  async listMessages() {
    const page = await client.listMessages();
    assert.equal(page.total, 3);
    assert.deepEqual(page.messages.map((one) => one.Subject), ["Newest", "Plain", "Welcome"]);
    assert.deepEqual((await client.listMessages(1, 1)).messages[0].Subject, "Plain");
  },
  async setReadStatus() {
    assert.equal(await client.setReadStatus({ Read: true }), "ok");
    assert.equal((await client.listMessages()).unread, 0);
    await client.setReadStatus({ IDs: [await plain()], Read: false });
    assert.deepEqual((await find("is:unread")).map((one) => one.Subject), ["Plain"]);
    await client.setReadStatus({ Search: "after:2020-01-01", Read: true }, { tz: "UTC" });
    assert.equal((await client.listMessages()).unread, 0);
    await client.setReadStatus();
    assert.equal((await client.listMessages()).unread, 3);
  },
  async searchMessages() {
    const found = await client.searchMessages({ query: 'to:bob "123456"', tz: "UTC" });
    assert.deepEqual(found.messages.map((one) => one.Subject), ["Welcome"]);
    assert.equal(found.messages_count, 1);
    assert.equal((await find("has:attachment")).length, 1);
    assert.equal((await find("-has:attachment")).length, 2);
  },
  async waitForMessage() {
    const options = { timeout: 20000, interval: 50 };
    assert.equal((await client.waitForMessage({ query: "subject:Plain" }, options)).Subject, "Plain");
  },
  async waitForMessages() {
    const found = await client.waitForMessages({ count: 3 }, { timeout: 20000, interval: 50 });
    assert.equal(found.messages.length, 3);
    const none = { query: "subject:nothing", count: 0 };
    assert.equal((await client.waitForMessages(none)).messages_count, 0);
  },
  async getTags() {
    assert.deepEqual(await client.getTags(), ["Green", "Sign up"]);
  },
  async setTags() {
    assert.equal(await client.setTags({ IDs: [await plain()], Tags: ["Red"] }), "ok");
    assert.deepEqual((await find("tag:red")).map((one) => one.Subject), ["Plain"]);
    await client.setTags({ IDs: [await plain()] });
    assert.deepEqual(await find("tag:red"), []);
  },
  async renameTag() {
    assert.equal(await client.renameTag("Sign up", "Sign in"), "ok");
    assert.deepEqual(await client.getTags(), ["Green", "Sign in"]);
    await client.renameTag("Sign in", "Sign up");
  },
  async deleteTag() {
    await client.setTags({ IDs: [await plain()], Tags: ["To go"] });
    assert.equal(await client.deleteTag("To go"), "ok");
    assert.deepEqual(await client.getTags(), ["Green", "Sign up"]);
  },
  async htmlCheck() {
    assert.equal(typeof (await client.htmlCheck(await welcome())).Total, "object");
  },
  async linkCheck() {
    assert.equal(typeof (await client.linkCheck(await welcome())).Links, "object");
  },
  async spamAssassinCheck() {
    assert.equal(typeof (await client.spamAssassinCheck(await welcome())).IsSpam, "boolean");
  },
  async getChaosTriggers() {
    assert.equal((await client.getChaosTriggers()).Sender.Probability, 0);
  },
  async setChaosTriggers() {
    const set = await client.setChaosTriggers({ Sender: { ErrorCode: 451, Probability: 5 } });
    assert.deepEqual(set.Sender, { ErrorCode: 451, Probability: 5 });
    assert.equal((await client.setChaosTriggers()).Sender.Probability, 0);
  },
  async renderMessageHTML() {
    assert.match(await client.renderMessageHTML(await welcome()), /<b>123456<\/b>/);
  },
  async renderMessageText() {
    assert.match(await client.renderMessageText(await welcome()), /Your code is 123456\./);
  },
  async deleteMessages() {
    assert.equal(await client.deleteMessages({ IDs: [await plain()] }), "ok");
    assert.deepEqual(await find("subject:Plain"), []);
    assert.equal((await client.listMessages()).total, 2);
  },
  async deleteMessagesBySearch() {
    assert.equal(await client.deleteMessagesBySearch({ query: "to:bob", tz: "UTC" }), "ok");
    assert.equal((await client.listMessages()).total, 1);
    assert.equal(await client.deleteMessages(), "ok");
    assert.equal((await client.listMessages()).total, 0);
  },
};

const last = ["deleteMessages", "deleteMessagesBySearch"];
const methods = Object.getOwnPropertyNames(MailpitClient.prototype).filter(
  (name) => !["constructor", "request", ...last].includes(name),
);
await report([...methods, ...last], checks);
