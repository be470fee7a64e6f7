// The vendor's own plugin, unmodified, as its host would run it: sign in if there is no account, then serve it until
// the process is told to stop. Its login host is fixed in its code, so that one host is sent to the gateway.
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

register("./loader.mjs", import.meta.url);

const { ILINK_BASE_URL, ILINK_CDN_URL, STATE_DIR, PLUGIN } = process.env;
process.env.OPENCLAW_STATE_DIR = STATE_DIR;

const network = globalThis.fetch;
globalThis.fetch = (url, options) =>
  network(String(url).replace(/^https:\/\/ilinkai\.weixin\.qq\.com/, ILINK_BASE_URL), options);

const { channelRuntime, report } = await import("./host.mjs");
const { weixinPlugin } = await import(pathToFileURL(path.join(PLUGIN, "dist/src/channel.js")).href);
const cfg = { channels: { "openclaw-weixin": { cdnBaseUrl: ILINK_CDN_URL } } };

let [accountId] = weixinPlugin.config.listAccountIds(cfg);
if (!accountId) {
  const login = await weixinPlugin.gateway.loginWithQrStart({});
  report("QRCODE", login.qrDataUrl ?? login.message);
  const result = await weixinPlugin.gateway.loginWithQrWait({ sessionKey: login.sessionKey });
  if (!result.connected) throw new Error(result.message);
  [accountId] = weixinPlugin.config.listAccountIds(cfg);
}
report("SIGNED_IN", accountId);

const stopping = new AbortController();
const account = weixinPlugin.config.resolveAccount(cfg, accountId);
const context = {
  account,
  cfg,
  channelRuntime,
  abortSignal: stopping.signal,
  runtime: { log: console.error, error: console.error },
};
process.once("SIGTERM", () => stopping.abort());
await weixinPlugin.gateway.startAccount(context).catch((error) => {
  if (!stopping.signal.aborted) throw error;
});
await weixinPlugin.gateway.stopAccount(context);
process.exit(0);
