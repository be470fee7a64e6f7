// Gives the plugin our host where it asks for OpenClaw's, and nothing where it asks for what only a terminal needs.
const HOST = new URL("host.mjs", import.meta.url).href;
const HOSTED = ["qrcode-terminal", "silk-wasm"];

export async function resolve(specifier, context, next) {
  if (specifier.startsWith("openclaw/plugin-sdk/") || HOSTED.includes(specifier)) return { url: HOST, shortCircuit: true };
  return next(specifier, context);
}
