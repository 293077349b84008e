/**
 * Runs a job on request, one run at a time. Requests that come during a run share one further run. The job must not
 * reject.
 */
export class Coalesced {
  private running = false;
  private next: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(private readonly job: () => Promise<void>) {}

  /** Resolves when a run has ended that began after this call. */
  request(): Promise<void> {
    if (!this.running) return this.begin();
    this.next ??= deferred();
    return this.next.promise;
  }

  private begin(): Promise<void> {
    this.running = true;
    return this.job().then(() => {
      const { next } = this;
      this.next = undefined;
      if (next === undefined) this.running = false;
      else void this.begin().then(next.resolve);
    });
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((r) => {
    resolve = r;
  });
  return { promise, resolve };
}
