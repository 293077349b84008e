/** Memory in bytes that all streams share for what cannot be handed on yet. */
export class Budget {
  used = 0;
  constructor(readonly max: number) {}

  get isSpent(): boolean {
    return this.used > this.max;
  }
}
