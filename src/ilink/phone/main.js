import { chooseLanguage, rememberedLanguage } from "./language.js";
import { store } from "./store.js";

// Words first: an element that renders before them would show its keys.
await chooseLanguage(rememberedLanguage());
await import("./views/app.js");
store.start();
