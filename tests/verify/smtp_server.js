// Nodemailer's smtp-server, writing a Maildir: node smtp_server.js NODE_MODULES PORT FOLDER.
const fs = require("fs");
const path = require("path");
const [modules, port, folder] = process.argv.slice(2);
const { SMTPServer } = require(path.join(modules, "smtp-server"));
for (const name of ["tmp", "new", "cur"]) fs.mkdirSync(path.join(folder, name), { recursive: true });
let count = 0;
const server = new SMTPServer({
  authOptional: true,
  name: "smtp-server.test",
  onData(stream, session, done) {
    const pieces = [];
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => {
      const { mailFrom, rcptTo } = session.envelope;
      const id = `${Date.now()}x${process.pid}x${count++}`;
      const body = Buffer.concat(pieces);
      for (const to of rcptTo) {
        const name = `${id}.${count++}`;
        const front = `Return-Path: <${mailFrom ? mailFrom.address : ""}>\r\nDelivered-To: ${to.address}\r\nReceived: from c by smtp-server.test id ${id};\r\n\tnow\r\n`;
        const file = path.join(folder, "tmp", name);
        fs.writeFileSync(file, Buffer.concat([Buffer.from(front), body]), { flush: true });
        fs.renameSync(file, path.join(folder, "new", name));
      }
      done(null, "kept");
    });
  },
});
server.on("error", () => {});
server.listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
