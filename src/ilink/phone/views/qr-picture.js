import { svg, html } from "../vendor/lit/index.js";
import { qrcode } from "../vendor/qrcode/qrcode.js";

const QUIET_ZONE = 4;
const drawn = new Map();

/** A text as a QR picture: dark on white in every theme, as cameras want it. */
export function qrPicture(text, label) {
  const { size, path } = draw(text);
  const side = size + 2 * QUIET_ZONE;
  return html`
    <svg class="qr" viewBox="0 0 ${side} ${side}" role="img" aria-label=${label} shape-rendering="crispEdges">
      ${svg`<rect width=${side} height=${side} fill="#fff"/><path d=${path} fill="#0b1a12"/>`}
    </svg>
  `;
}

function draw(text) {
  if (drawn.has(text)) return drawn.get(text);
  const code = qrcode(0, "M");
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  let path = "";
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (code.isDark(y, x)) path += `M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z`;
    }
  }
  // Few codes live at a time; what an old one looked like is not worth keeping.
  if (drawn.size > 20) drawn.clear();
  drawn.set(text, { size, path });
  return drawn.get(text);
}
