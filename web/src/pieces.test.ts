import { expect, test } from "vitest";
import { problemOf } from "./api";
import { worthSending } from "./files";
import { cubicMillimetres, percent, squareMillimetres } from "./format";
import { routeOf } from "./route";

const ID = "0123456789abcdef0123456789abcdef";

test("addresses", () => {
  expect(routeOf("")).toEqual({ view: "home" });
  expect(routeOf("#/")).toEqual({ view: "home" });
  expect(routeOf(`#/jobs/${ID}`)).toEqual({ view: "job", id: ID });
  expect(routeOf(`#/results/${ID}`)).toEqual({ view: "result", id: ID });
});

test.each([`#/results/${ID}0`, `#/results/../${ID}`, `#/results/${ID}/x`, "#/keys", "#/results/<script>"])(
  "%s is no address",
  (hash) => expect(routeOf(hash)).toEqual({ view: "unknown" }),
);

test("a problem of the server is shown as it is", () => {
  const body = JSON.stringify({ title: "T", detail: "D", advice: "A", status: 503 });
  const problem = problemOf(503, body, "7");
  expect(problem.document).toMatchObject({ title: "T", detail: "D", advice: "A", status: 503 });
  expect([problem.retryAfterSeconds, problem.passing]).toEqual([7, true]);
});

test.each(["", "<html>Bad gateway</html>", "{}", "null", "[1]"])("the answer %j of a proxy is a problem too", (body) => {
  const problem = problemOf(502, body, null);
  expect(problem.document.title).toBe("The server answered with status 502");
  expect(problem.document.advice).not.toBe("");
});

test("what file managers leave behind is not sent, nor are empty files", () => {
  const file = (name: string, content = "x"): File => new File([content], name);
  const files = [file("IM0001"), file(".DS_Store"), file("Thumbs.db"), file("empty", "")];
  expect(worthSending(files).map(({ name }) => name)).toEqual(["IM0001"]);
});

test("numbers", () => {
  expect(percent(0.996)).toBe("100 %");
  expect(squareMillimetres(198.4)).toBe("198 mm²");
  expect(cubicMillimetres(12480.2)).toBe("12\u202f480 mm³");
  expect(cubicMillimetres(null)).toBe("–");
});
