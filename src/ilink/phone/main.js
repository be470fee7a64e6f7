import { chooseLanguage, rememberedLanguage } from "./language.js";
import { store } from "./store.js";
import "./views/app.js";

// Words first: an element that renders before them would show its keys. The data is asked for meanwhile.
const words = chooseLanguage(rememberedLanguage());
store.start();
await words;
document.querySelector("#frame").replaceWith(document.createElement("phone-app"));
