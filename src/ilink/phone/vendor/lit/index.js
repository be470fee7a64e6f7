import"../lit/reactive-element.js";import"../lit/lit-html.js";export*from"../lit/lit-element.js";export*from"../lit/is-server.js";
