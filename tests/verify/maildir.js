// Write mail into a Maildir: require("./maildir.js")(FOLDER) returns keep(sender, recipients, body, trace).
const fs = require("fs");
const path = require("path");
module.exports = (folder) => {
  for (const name of ["tmp", "new", "cur"]) fs.mkdirSync(path.join(folder, name), { recursive: true });
  let count = 0;
  return (sender, recipients, body, trace = () => "") => {
    const id = `${Date.now()}x${process.pid}x${count++}`;
    for (const to of recipients) {
      const name = `${id}.${count++}`;
      const front = `Return-Path: <${sender}>\r\nDelivered-To: ${to}\r\n${trace(id)}`;
      const file = path.join(folder, "tmp", name);
      fs.writeFileSync(file, Buffer.concat([Buffer.from(front), body]), { flush: true });
      fs.renameSync(file, path.join(folder, "new", name));
    }
  };
};
