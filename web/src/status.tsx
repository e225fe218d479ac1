// One polite live region for the whole page: what is written to it, screen readers say.

import { useEffect, useState } from "preact/hooks";

let show: (text: string) => void = () => {};

export const announce = (text: string): void => show(text);

export function Status() {
  const [text, setText] = useState("");
  useEffect(() => {
    show = setText;
  }, []);
  return (
    <p class="visually-hidden" role="status" aria-live="polite">
      {text}
    </p>
  );
}
