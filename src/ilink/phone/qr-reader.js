/** Reads QR codes from pictures and from a camera. */

/** Pixels of the longer side of a picture; a code in a screenshot is large enough at these. */
const SIDES = [1000, 1800, 500];

/** Milliseconds between looks through a camera. */
const PAUSE = 150;

let loading = null;

/** The decoder is large and rarely needed: it comes with the first picture. */
async function decoder() {
  loading ??= import("./vendor/jsqr/jsQR.js").then(() => globalThis.jsQR);
  return loading;
}

/** The text of the QR code in a picture file, or null when there is none. */
export async function readQrPicture(file) {
  const read = await decoder();
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return null;
  }
  for (const side of SIDES) {
    const text = textIn(read, picture, picture.width, picture.height, side);
    if (text !== null) return text;
  }
  return null;
}

/**
 * Look through a video until it shows a QR code that `isWanted`, and answer its text; null when `signal` ends it.
 */
export async function watchQr(video, { isWanted, signal }) {
  const read = await decoder();
  while (!signal.aborted) {
    if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && video.videoWidth > 0) {
      const text = textIn(read, video, video.videoWidth, video.videoHeight, SIDES[0]);
      if (text !== null && isWanted(text)) return text;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
  return null;
}

function textIn(read, source, width, height, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return read(data, canvas.width, canvas.height)?.data || null;
}
