// Haraka, writing a Maildir: node haraka_server.js NODE_MODULES PORT FOLDER.
const { execFileSync } = require("child_process");
const fs = require("fs");
const path = require("path");
const [modules, port, folder] = process.argv.slice(2);
const home = path.join(folder, "..", `haraka-${port}`);
const haraka = path.join(modules, "Haraka", "bin", "haraka");
if (!fs.existsSync(home)) execFileSync(process.execPath, [haraka, "-i", home]);
fs.mkdirSync(path.join(home, "plugins"), { recursive: true });
fs.writeFileSync(path.join(home, "config", "smtp.ini"), `listen=127.0.0.1:${port}\nnodes=0\n`);
fs.writeFileSync(path.join(home, "config", "me"), "haraka.test\n");
fs.writeFileSync(path.join(home, "config", "loglevel"), "WARN\n");
fs.writeFileSync(path.join(home, "config", "plugins"), "maildir\n");
fs.writeFileSync(path.join(home, "plugins", "maildir.js"), `
const keep = require(${JSON.stringify(path.join(__dirname, "maildir.js"))})(${JSON.stringify(path.resolve(folder))});
exports.hook_rcpt = (next) => next(OK);
exports.hook_queue = (next, connection) => {
  const { mail_from: from, rcpt_to: to, message_stream: stream } = connection.transaction;
  stream.get_data((body) => {
    keep(from.format().slice(1, -1), to.map((one) => one.address), body);
    next(OK, "kept");
  });
};
`);
process.argv = [process.argv[0], haraka, "-c", home];
require(haraka);
