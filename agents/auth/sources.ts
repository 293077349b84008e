import type { Source } from "./access-control.js";

/** Something read from a file, and read again on request. */
export class FileSource<T> implements Source<T> {
  private current: T;

  /**
   * @param read reads and checks the file
   * @throws what `read` throws
   */
  constructor(private readonly read: () => T) {
    this.current = read();
  }

  get value(): T {
    return this.current;
  }

  /** @throws what `read` throws; the value stays as it was then */
  reload(): void {
    this.current = this.read();
  }
}

/** What somebody else keeps: undefined until they have said something, and when they have nothing. */
export class SharedSource<T> implements Source<T> {
  value: T | undefined;
}
