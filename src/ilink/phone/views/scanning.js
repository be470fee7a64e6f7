/** From a picture of a code to a scanned code. */

import { t } from "../language.js";
import { readQrPicture } from "../qr-reader.js";
import { store } from "../store.js";

/** Let a person scan what a QR code says, if it is a login code of this gateway; tells whether it was. */
export async function scanText(text, userId) {
  const code = store.codes.find(text);
  if (!code) {
    store.notify({ message: t("scan.foreign"), hint: text.slice(0, 120) });
    return false;
  }
  store.activate(userId);
  return (await store.codes.scan(code, userId)) !== null;
}

/** Let a person scan a picture, such as a screenshot of a bot's terminal; tells whether it worked. */
export async function scanPicture(file, userId) {
  const text = await readQrPicture(file);
  if (text !== null) return scanText(text, userId);
  store.notify({ message: t("scan.no_code", { name: file.name }) });
  return false;
}
