import { render } from "preact";
import { App } from "./app";
import "./page.css";

// A study dropped beside its zone would be opened by the browser in place of the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

const root = document.getElementById("root");
if (root) render(<App />, root);
