import { EvidenceError } from "./errors.js";

/** The steps of `elspeth verify`: what the page checks of each, and what it leaves to that command. */
export const STEPS = [
  {
    title: "structure and manifests",
    checks: "the manifests list these files and no others, with their SHA-256",
    leaves: "the SHA-256 of the records as one file: step 6 covers their lines",
  },
  {
    title: "envelope and signature",
    checks: "the key given signed the statement",
    leaves: "time-stamps and certificates",
  },
  {
    title: "statement against files",
    checks: "the statement is complete and names these files and no others, with their SHA-256",
    leaves: "whether schema and epoch belong together",
  },
  {
    title: "lines",
    checks: "each ends with a line feed, and has at most 64 MiB",
    leaves: "canonical JSON, schema, order and keys",
  },
  { title: "counts", checks: "there are as many records as the statement says", leaves: "how many of each type" },
  { title: "Merkle root", checks: "the lines, in this order, have the root in the statement", leaves: "nothing" },
  { title: "references", checks: "nothing", leaves: "all" },
  { title: "lifecycles", checks: "nothing", leaves: "all" },
  { title: "accounting", checks: "nothing", leaves: "all" },
  { title: "log of runs", checks: "nothing", leaves: "all" },
];

/** Collects how the steps end. The first fault of a step stands, whatever follows. */
export class CheckedSteps {
  constructor() {
    this.found = STEPS.map(({ title, checks }) => {
      return { title, status: checks === "nothing" ? "not checked here" : "not reached", detail: "" };
    });
  }

  /** Take a step, or a part of one; return whether no part has failed. */
  async take(number, check) {
    try {
      const detail = await check();
      if (detail !== undefined) {
        this.end(number, "ok", detail);
      }
    } catch (error) {
      if (!(error instanceof EvidenceError)) {
        throw error;
      }
      this.end(number, "FAILED", error.message);
    }
    return !this.failed(number);
  }

  end(number, status, detail) {
    if (!this.failed(number)) {
      Object.assign(this.found[number - 1], { status, detail });
    }
  }

  failed(...numbers) {
    return numbers.some((number) => this.found[number - 1].status === "FAILED");
  }

  /** The detail of the first fault, or null. */
  get fault() {
    return this.found.find((step) => step.status === "FAILED")?.detail ?? null;
  }
}
