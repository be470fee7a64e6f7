// Stands in for the OpenClaw host: as much of its plugin SDK as the plugin imports, and an agent that echoes.
import fs from "node:fs";

const { STATE_DIR, PICTURE, DOCUMENT, RECEIVED } = process.env;

// What the plugin imports from "openclaw/plugin-sdk/…".
export const normalizeAccountId = (id) => String(id ?? "").trim().toLowerCase().replace(/[^a-z0-9_-]+/g, "-");
export const resolvePreferredOpenClawTmpDir = () => STATE_DIR;
export const withFileLock = async (path, options, work) => work();
export const createTypingCallbacks = ({ start, stop }) => ({ start, stop });
export const resolveSenderCommandAuthorizationWithRuntime = async () => ({
  senderAllowedForCommands: true,
  commandAuthorized: true,
});
export const resolveDirectDmAuthorizationOutcome = () => "authorized";
export const getGlobalHookRunner = () => undefined;
export const fireAndForgetHook = () => {};
export const buildCanonicalSentMessageHookContext = (sent) => sent;
export const toPluginMessageContext = (sent) => sent;
export const toPluginMessageSentEvent = (sent) => sent;
export const loadConfig = () => ({});
export const writeConfigFile = async () => {};

// What it imports to draw a code on a terminal.
export const generate = () => {};
export default { generate };

export const report = (event, ...details) => console.log(event, ...details);

// The agent: shows that it types for every message, and answers all but one.
async function dispatchReplyFromConfig({ ctx, dispatcher }) {
  await dispatcher.typing.start();
  if (ctx.MediaPath) return dispatcher.typing.stop();
  if (ctx.Body === "!typing") return;
  if (ctx.Body === "!picture") await dispatcher.deliver({ mediaUrl: PICTURE });
  else if (ctx.Body === "!document") await dispatcher.deliver({ mediaUrl: DOCUMENT });
  else await dispatcher.deliver({ text: `echo: ${ctx.Body}` });
  await dispatcher.typing.stop();
}

// What the host hands to an account when it starts it.
export const channelRuntime = {
  commands: {},
  media: {
    async saveMediaBuffer(bytes) {
      fs.writeFileSync(RECEIVED, bytes);
      report("RECEIVED", bytes.length);
      return { path: RECEIVED };
    },
  },
  routing: { resolveAgentRoute: () => ({ agentId: "echo", sessionKey: "echo", mainSessionKey: "echo" }) },
  session: { resolveStorePath: () => STATE_DIR, recordInboundSession: async () => {} },
  reply: {
    finalizeInboundContext: (ctx) => ctx,
    resolveHumanDelayConfig: () => undefined,
    createReplyDispatcherWithTyping: ({ typingCallbacks, deliver }) => ({
      dispatcher: { typing: typingCallbacks, deliver },
      replyOptions: {},
      markDispatchIdle() {},
    }),
    withReplyDispatcher: ({ run }) => run(),
    dispatchReplyFromConfig,
  },
};
