// Lets Node read what is written for a bundler: modules that a file names without its ending.

export async function resolve(specifier, context, next) {
  const isBare = specifier.startsWith("./") && !specifier.endsWith("js");
  return next(isBare ? `${specifier}.js` : specifier, context);
}

export async function load(url, context, next) {
  const isModule = url.includes("/cypress-mailpit/");
  return next(url, isModule ? { ...context, format: "module" } : context);
}
