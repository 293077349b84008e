/** Place of one answer in the order of the packets it answers. */
export interface AnswerSlot<T> {
  answer: T | undefined;
}

/**
 * Gives answers in the order of the packets that they answer, however they come in (MQTT-4.6.0-2). Its length is bounded by
 * the holding of reads (`Limits.pendingAcks`).
 */
export class AnswerQueue<T> {
  private slots: AnswerSlot<T>[] = [];
  private head = 0;

  constructor(private readonly give: (answer: T) => void) {}

  /** Answers that are not given yet. */
  get length(): number {
    return this.slots.length - this.head;
  }

  /** Takes the next place. */
  reserve(): AnswerSlot<T> {
    const slot: AnswerSlot<T> = { answer: undefined };
    this.slots.push(slot);
    return slot;
  }

  /** Fills a place, and gives it and those behind it once all before it are filled. */
  fill(slot: AnswerSlot<T>, answer: T): void {
    slot.answer = answer;
    let { head } = this;
    const { slots } = this;
    while (head < slots.length) {
      const ready = slots[head]!.answer;
      if (ready === undefined) break;
      head += 1;
      this.give(ready);
    }
    // Cut off what was given now and then, so that each answer costs the same.
    if (head === slots.length || head > 1_024) {
      slots.splice(0, head);
      head = 0;
    }
    this.head = head;
  }

  /** Gives it at once when nothing waits before it, otherwise in its turn. */
  giveInOrder(answer: T): void {
    if (this.length === 0) this.give(answer);
    else this.slots.push({ answer });
  }
}
