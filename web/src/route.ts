// Addresses of views: #/, #/jobs/ID and #/results/ID. Ids are all that is ever in an address.

export type Route = { view: "home" | "unknown" } | { view: "job" | "result"; id: string };

export function routeOf(hash: string): Route {
  if (hash === "" || hash === "#" || hash === "#/") return { view: "home" };
  const found = /^#\/(jobs|results)\/([0-9a-f]{32})$/.exec(hash);
  if (!found?.[2]) return { view: "unknown" };
  return { view: found[1] === "jobs" ? "job" : "result", id: found[2] };
}
