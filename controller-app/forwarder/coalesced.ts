/**
 * Runs a job on request, one run at a time. Requests that come during a run share one further run. The job must not
 * reject.
 */
export class Coalesced {
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(private readonly job: () => Promise<void>) {}

  /** Resolves when a run has ended that began after this call. */
  request(): Promise<void> {
    if (this.running === undefined) return this.begin();
    this.next ??= this.running.then(() => {
      this.next = undefined;
      return this.begin();
    });
    return this.next;
  }

  private begin(): Promise<void> {
    const run = this.job().then(() => {
      this.running = undefined;
    });
    this.running = run;
    return run;
  }
}
