/** A worker that runs this page's own code. */
export class Helper {
  static ofCode(code) {
    return new Helper(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  }

  constructor(url) {
    this.url = url;
    this.worker = new Worker(url);
    this.waiting = new Map();
    this.worker.onmessage = ({ data }) => this.take(data);
    this.worker.onerror = (event) => this.fail(event.message);
  }

  /** Ask a question; `onProgress` is called while it is answered. What is in `transfer` is given away. */
  ask(question, given, onProgress = () => {}, transfer = []) {
    const id = this.waiting.size ? Math.max(...this.waiting.keys()) + 1 : 1;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onProgress });
      this.worker.postMessage({ id, question, given }, transfer);
    });
  }

  take({ id, answer, problem, progress }) {
    const asked = this.waiting.get(id);
    if (progress !== undefined) {
      asked.onProgress(progress);
      return;
    }
    this.waiting.delete(id);
    if (problem === undefined) asked.resolve(answer);
    else asked.reject(new Error(problem));
  }

  /** End the worker, whatever it does. */
  stop() {
    this.worker.terminate();
    URL.revokeObjectURL(this.url);
    this.waiting.clear();
  }

  fail(message) {
    for (const { reject } of this.waiting.values()) reject(new Error(message));
    this.waiting.clear();
  }
}
