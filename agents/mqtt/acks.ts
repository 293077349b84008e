/** Place of one acknowledgement in the order of the packets it answers. */
export interface AckSlot {
  packet: Buffer | undefined;
}

/**
 * Sends acknowledgements in the order of the packets that they answer, however their answers come in
 * (MQTT-4.6.0-2). Its length is bounded by the holding of reads (`Limits.pendingAcks`).
 */
export class AckQueue {
  private slots: AckSlot[] = [];
  private head = 0;

  constructor(private readonly send: (packet: Buffer) => void) {}

  /** Takes the next place. */
  reserve(): AckSlot {
    const slot: AckSlot = { packet: undefined };
    this.slots.push(slot);
    return slot;
  }

  /** Fills a place, and sends it and those behind it once all before it are filled. */
  fill(slot: AckSlot, packet: Buffer): void {
    slot.packet = packet;
    let { head } = this;
    const { slots } = this;
    while (head < slots.length) {
      const ready = slots[head]!.packet;
      if (ready === undefined) break;
      head += 1;
      this.send(ready);
    }
    // Cut off what was sent now and then, so that each acknowledgement costs the same.
    if (head === slots.length || head > 1_024) {
      slots.splice(0, head);
      head = 0;
    }
    this.head = head;
  }

  /** Sends at once when nothing waits before it, otherwise in its turn. */
  sendInOrder(packet: Buffer): void {
    if (this.slots.length === this.head) this.send(packet);
    else this.slots.push({ packet });
  }
}
