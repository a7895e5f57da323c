// Runs a check for each method of a client, and prints what went wrong with which, as JSON.

export async function report(methods, checks) {
  const outcomes = {};
  for (const name of methods) {
    try {
      if (!(name in checks)) throw new Error("no check for this method");
      await checks[name]();
      outcomes[name] = "";
    } catch (error) {
      outcomes[name] = String(error.message ?? error).slice(0, 500) || "failed";
    }
  }
  process.stdout.write(JSON.stringify(outcomes));
}
