// The heading of a view takes the focus when the view is changed to, so that keyboards and screen readers begin there.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

let first = true;

export function Heading({ children }: { children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (!first) heading.current?.focus();
    first = false;
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {children}
    </h1>
  );
}
