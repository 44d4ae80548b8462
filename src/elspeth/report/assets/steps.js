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
