import { EvidenceError } from "./errors.js";
import { STEPS } from "./steps.js";

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
