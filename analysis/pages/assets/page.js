// What a page does beyond what is printed: folded sections open before printing.
"use strict";
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
