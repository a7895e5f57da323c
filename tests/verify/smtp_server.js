// Nodemailer's smtp-server, writing a Maildir: node smtp_server.js NODE_MODULES PORT FOLDER.
const path = require("path");
const [modules, port, folder] = process.argv.slice(2);
const { SMTPServer } = require(path.join(modules, "smtp-server"));
const keep = require("./maildir.js")(folder);
const received = (id) => `Received: from c by smtp-server.test id ${id};\r\n\tnow\r\n`;
const server = new SMTPServer({
  authOptional: true,
  name: "smtp-server.test",
  onData(stream, session, done) {
    const pieces = [];
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("end", () => {
      const { mailFrom, rcptTo } = session.envelope;
      const to = rcptTo.map((one) => one.address);
      keep(mailFrom ? mailFrom.address : "", to, Buffer.concat(pieces), received);
      done(null, "kept");
    });
  },
});
server.on("error", () => {});
server.listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
