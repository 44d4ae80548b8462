/** Answer the questions that the page posts, one after the other; `answers` are functions by the name of the question. */
export function startWorker(scope, answers) {
  let last = Promise.resolve();
  scope.onmessage = ({ data: { id, question, given } }) => {
    const answer = async () => {
      try {
        const tell = (progress) => scope.postMessage({ id, progress });
        scope.postMessage({ id, answer: await answers[question](given, tell) });
      } catch (error) {
        scope.postMessage({ id, problem: error.message });
      }
    };
    last = last.then(answer);
  };
}

/** A worker that runs this page's own code. */
export class Helper {
  constructor(code) {
    this.url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.worker = new Worker(this.url);
    this.waiting = new Map();
    this.worker.onmessage = ({ data }) => this.take(data);
    this.worker.onerror = (event) => this.fail(event.message);
  }

  /** Ask a question; `onProgress` is called while it is answered. */
  ask(question, given, onProgress = () => {}) {
    const id = this.waiting.size ? Math.max(...this.waiting.keys()) + 1 : 1;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, onProgress });
      this.worker.postMessage({ id, question, given });
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
