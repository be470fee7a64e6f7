import { html, svg } from "../vendor/lit/index.js";

const PATHS = {
  plus: svg`<path d="M12 5v14M5 12h14"/>`,
  close: svg`<path d="M6 6l12 12M18 6L6 18"/>`,
  back: svg`<path d="M15 5l-7 7 7 7"/>`,
  down: svg`<path d="M12 5v14M6 13l6 6 6-6"/>`,
  sun: svg`<circle cx="12" cy="12" r="4"/><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600l1.400 1.400M17 17l1.400 1.400M5.600 18.400L7 17M17 7l1.400-1.400"/>`,
  moon: svg`<path d="M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500z"/>`,
  bot: svg`<rect x="5" y="9" width="14" height="10" rx="3"/><path d="M12 9V5M9.500 13.500v1M14.500 13.500v1M2.500 13v2.500M21.500 13v2.500"/><circle cx="12" cy="4" r="1"/>`,
  wire: svg`<path d="M4 8h13l-3-3M20 16H7l3 3"/>`,
  check: svg`<path d="M5 12.500l4.500 4.500L19 7.500"/>`,
  checks: svg`<path d="M2.500 12.500L7 17l9.500-9.500M12 17l9.500-9.500"/>`,
  clock: svg`<circle cx="12" cy="12" r="8.500"/><path d="M12 7.500V12l3 2"/>`,
  hidden: svg`<path d="M4 4l16 16M9.500 5.600A10 10 0 0 1 12 5.300c5 0 8.500 4.700 9.300 6.700a13 13 0 0 1-2.500 3.500M6 7.500A13 13 0 0 0 2.700 12c.8 2 4.300 6.700 9.300 6.700a9.500 9.500 0 0 0 4-.9"/>`,
  warn: svg`<path d="M12 4l9 16H3zM12 10v4.500M12 17.200v.3"/>`,
  send: svg`<path d="M12 19V5M6 11l6-6 6 6"/>`,
  copy: svg`<rect x="8" y="8" width="12" height="12" rx="2.500"/><path d="M16 8V6a2 2 0 0 0-2-2H6a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h2"/>`,
  qr: svg`<path d="M4 8V5.500A1.500 1.500 0 0 1 5.500 4H8M16 4h2.500A1.500 1.500 0 0 1 20 5.500V8M20 16v2.500a1.500 1.500 0 0 1-1.500 1.500H16M8 20H5.500A1.500 1.500 0 0 1 4 18.500V16M3.500 12h17"/>`,
  info: svg`<circle cx="12" cy="12" r="8.500"/><path d="M12 11v5.500M12 7.600v.3"/>`,
  file: svg`<path d="M7 3.500h7l4.500 4.500v11a1.500 1.500 0 0 1-1.500 1.500H7A1.500 1.500 0 0 1 5.500 19V5A1.500 1.500 0 0 1 7 3.500zM13.500 4v4.500H18"/>`,
  voice: svg`<path d="M6 9.500a4 4 0 0 1 0 5M10 7a7.500 7.500 0 0 1 0 10M14 4.500a11 11 0 0 1 0 15"/>`,
  image: svg`<rect x="3.500" y="5" width="17" height="14" rx="2.500"/><circle cx="9" cy="10" r="1.500"/><path d="M4 17l5-4 3 2.500L16 11l4.500 4.500"/>`,
  video: svg`<rect x="3" y="6" width="12.500" height="12" rx="2.500"/><path d="M15.500 11l5.500-3v8l-5.500-3z"/>`,
  tool: svg`<path d="M14.500 6.500a4 4 0 0 0-5.300 5L4 16.700 7.300 20l5.200-5.200a4 4 0 0 0 5-5.300L15 12l-3-3z"/>`,
  bolt: svg`<path d="M13 3L5 13.500h6L10 21l9-11h-6.500z"/>`,
  share: svg`<path d="M12 3v11M8 6.500L12 3l4 3.500M6 11H5v9h14v-9h-1"/>`,
  save: svg`<path d="M12 4v11M8 11.500l4 4 4-4M5 20h14"/>`,
  load: svg`<path d="M12 15V4M8 8l4-4 4 4M5 20h14"/>`,
  reset: svg`<path d="M4.500 12a7.500 7.500 0 1 0 2.500-5.600L4.500 8.500M4.500 4v4.500H9"/>`,
  quote: svg`<path d="M5 17c3-1 4.500-3.500 4.500-7H5v4h3M14 17c3-1 4.500-3.500 4.500-7H14v4h3"/>`,
  select: svg`<path d="M9 4h6M12 4v16M9 20h6M4 9v6M20 9v6"/>`,
  link: svg`<path d="M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.700-5.700L12 7M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.700 5.700L12 17"/>`,
  more: svg`<path d="M6 12h.01M12 12h.01M18 12h.01"/>`,
  mic: svg`<rect x="9" y="3.500" width="6" height="11" rx="3"/><path d="M5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v2.500"/>`,
  camera: svg`<path d="M4 8.500A1.500 1.500 0 0 1 5.500 7H8l1.500-2.500h5L16 7h2.500A1.500 1.500 0 0 1 20 8.500v9a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500z"/><circle cx="12" cy="13" r="3.500"/>`,
  freeze: svg`<path d="M12 3v18M4.200 7.500l15.600 9M19.800 7.500l-15.600 9M9.500 4.500L12 7l2.500-2.500M9.500 19.500L12 17l2.500 2.500"/>`,
  code: svg`<path d="M8.500 7L4 12l4.500 5M15.500 7l4.500 5-4.500 5"/>`,
  search: svg`<circle cx="10.500" cy="10.500" r="6"/><path d="M15 15l5 5"/>`,
  person: svg`<circle cx="12" cy="8" r="4"/><path d="M4.500 20a7.500 7.500 0 0 1 15 0"/>`,
};

/** A picture beside words: hidden from screen readers. */
export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${PATHS[name]}</svg>`;
}
