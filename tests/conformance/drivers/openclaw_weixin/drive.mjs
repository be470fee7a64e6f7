// The vendor's own plugin, unmodified, as its host would run it: sign in if there is no account, then serve it until
// the process is told to stop. Its login host and the scheme of a redirect are fixed in its code, so those two are sent
// to the gateway, which speaks plain HTTP here; or a proxy leads them there by HTTPS, and nothing is touched.
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

register("./loader.mjs", import.meta.url);

const { HTTPS_PROXY, ILINK_BASE_URL, ILINK_CDN_URL, STATE_DIR, PLUGIN, SIGN_IN_AGAIN } = process.env;
process.env.OPENCLAW_STATE_DIR = STATE_DIR;

if (!HTTPS_PROXY) {
  const network = globalThis.fetch;
  const sentHere = ["https://ilinkai.weixin.qq.com", ILINK_BASE_URL.replace("http:", "https:")];
  globalThis.fetch = (url, options) => {
    const origin = sentHere.find((one) => String(url).startsWith(one + "/"));
    return network(origin ? ILINK_BASE_URL + String(url).slice(origin.length) : url, options);
  };
}

const { channelRuntime, report } = await import("./host.mjs");
const { weixinPlugin } = await import(pathToFileURL(path.join(PLUGIN, "dist/src/channel.js")).href);
const cfg = { channels: { "openclaw-weixin": HTTPS_PROXY ? {} : { cdnBaseUrl: ILINK_CDN_URL } } };

let [accountId] = weixinPlugin.config.listAccountIds(cfg);
if (!accountId || SIGN_IN_AGAIN) {
  const login = await weixinPlugin.gateway.loginWithQrStart({});
  report("QRCODE", login.qrDataUrl ?? login.message);
  const result = await weixinPlugin.gateway.loginWithQrWait({ sessionKey: login.sessionKey });
  report("RESULT", result.message);
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
