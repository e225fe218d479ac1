// The frame of the page: which view is shown, who is asking, and in which colours.

import { useCallback, useEffect, useState } from "preact/hooks";
import { asProblem, caller as fetchCaller, credentials, type Problem } from "./api";
import type { Caller } from "./contract";
import { Heading } from "./heading";
import { HomeView } from "./home";
import { JobView } from "./job";
import { KeyView } from "./key";
import { ProblemBox } from "./problem";
import { ResultView } from "./result";
import { type Route, routeOf } from "./route";
import { Status } from "./status";
import { ThemeChoice } from "./theme";

const TITLES: Record<Route["view"], string> = { home: "New study", job: "Grading", result: "Result", unknown: "Not found" };

export function App() {
  const [route, setRoute] = useState<Route>(() => routeOf(location.hash));
  const [caller, setCaller] = useState<Caller | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [tried, setTried] = useState(false);

  useEffect(() => {
    const changed = () => setRoute(routeOf(location.hash));
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  useEffect(() => {
    document.title = `${TITLES[route.view]} – discgrade`;
  }, [route.view]);

  const ask = useCallback(async () => {
    try {
      setCaller(await fetchCaller());
      setProblem(null);
    } catch (error) {
      setCaller(null);
      setProblem(asProblem(error));
    }
  }, []);
  useEffect(() => void ask(), [ask]);

  // While the server is away, or starting, go on asking.
  useEffect(() => {
    if (!problem?.passing) return;
    const timer = setTimeout(() => void ask(), (problem.retryAfterSeconds ?? 2) * 1000);
    return () => clearTimeout(timer);
  }, [problem, ask]);

  const onKeyNeeded = useCallback((refused: Problem) => {
    setTried(credentials.get() !== null);
    setCaller(null);
    setProblem(refused);
  }, []);

  function enter(key: string) {
    setTried(true);
    credentials.set(key);
    void ask();
  }

  function forget() {
    credentials.forget();
    setTried(false);
    void ask();
  }

  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to content
      </a>
      <header>
        <div class="top">
        <a class="brand" href="#/">
          discgrade
        </a>
        <nav aria-label="Main">
          <a href="#/" aria-current={route.view === "home" ? "page" : undefined}>
            Studies
          </a>
          <a href="docs">API</a>
        </nav>
        <span class="spacer" />
        {caller && credentials.get() !== null && (
          <button type="button" class="plain" onClick={forget}>
            Forget key
          </button>
        )}
          <ThemeChoice />
        </div>
        <p class="disclaimer">For research use only. Not a medical device; not for diagnosis or treatment decisions.</p>
      </header>
      <Status />
      <main id="main" tabIndex={-1}>
        {caller ? (
          <View route={route} caller={caller} onKeyNeeded={onKeyNeeded} />
        ) : problem?.document.status === 401 ? (
          <KeyView problem={problem} tried={tried} enter={enter} />
        ) : problem ? (
          <div class="narrow">
            <Heading>discgrade</Heading>
            <ProblemBox problem={problem.document}>
              <button type="button" onClick={() => void ask()}>
                Try again
              </button>
            </ProblemBox>
          </div>
        ) : null}
      </main>
    </>
  );
}

interface ViewProps {
  route: Route;
  caller: Caller;
  onKeyNeeded: (problem: Problem) => void;
}

function View({ route, caller, onKeyNeeded }: ViewProps) {
  switch (route.view) {
    case "home":
      return <HomeView caller={caller} onKeyNeeded={onKeyNeeded} />;
    case "job":
      return <JobView key={route.id} id={route.id} onKeyNeeded={onKeyNeeded} />;
    case "result":
      return <ResultView key={route.id} id={route.id} caller={caller} onKeyNeeded={onKeyNeeded} />;
    case "unknown":
      return (
        <div class="narrow">
          <Heading>Not found</Heading>
          <p>
            There is nothing at this address. <a href="#/">To all studies</a>
          </p>
        </div>
      );
  }
}

/** A link to "#main" would be taken for an address of a view. */
function skip(event: MouseEvent) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
