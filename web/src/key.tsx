// Where the door is shut: ask for a key.

import { useState } from "preact/hooks";
import type { Problem } from "./api";
import { Heading } from "./heading";
import { ProblemBox } from "./problem";

/** The server's own tells programs which header to send. */
const ADVICE = "Enter a key that this server knows and that was not revoked. Its operator makes keys.";

interface Props {
  problem: Problem;
  tried: boolean;
  enter: (key: string) => void;
}

export function KeyView({ problem, tried, enter }: Props) {
  const [key, setKey] = useState("");
  return (
    <div class="narrow">
      <Heading>Sign in</Heading>
      {tried ? (
        <ProblemBox problem={{ ...problem.document, advice: ADVICE }} />
      ) : (
        <p>This server wants an API key, or an access token, from each caller. Its operator makes keys.</p>
      )}
      <form
        class="key-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim()) enter(key.trim());
        }}
      >
        <label for="key">API key or access token</label>
        <input
          id="key"
          type="password"
          autocomplete="off"
          spellcheck={false}
          required
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <button type="submit" class="primary">
          Continue
        </button>
      </form>
      <p class="quiet small">It is kept until this tab is closed, and sent to this server only.</p>
    </div>
  );
}
