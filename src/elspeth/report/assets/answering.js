const TELL_EVERY = 100; // milliseconds; each time the page is drawn again

/** Answer the questions that the page posts, one after the other; `answers` are functions by the name of the question. */
export function startWorker(scope, answers) {
  let last = Promise.resolve();
  let told = 0;
  scope.onmessage = ({ data: { id, question, given } }) => {
    const tell = (progress) => {
      if (performance.now() - told < TELL_EVERY) return;
      told = performance.now();
      scope.postMessage({ id, progress });
    };
    const answer = async () => {
      try {
        scope.postMessage({ id, answer: await answers[question](given, tell) });
      } catch (error) {
        scope.postMessage({ id, problem: error.message });
      }
    };
    last = last.then(answer);
  };
}
