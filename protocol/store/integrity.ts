/** Finds damage in LevelDB's files by the checksums that it writes there itself but does not look at. */

/** LevelDB's log format (its doc/log_format.md): blocks of records. The log and the manifest are written in it. */
const LOG_BLOCK = 32_768;
/** Of a record: masked CRC-32C of type and data (4, little endian), length of the data (2), type (1). */
const RECORD_HEADER = 7;

/**
 * Where a log's first damaged record begins, or undefined. A last record that was not written to its end is no damage:
 * its writer was killed, and nobody was told that it is there.
 */
export function findLogDamage(log: Buffer): number | undefined {
  let at = 0;
  while (at < log.length) {
    const left = LOG_BLOCK - (at % LOG_BLOCK);
    if (left < RECORD_HEADER) {
      at += left;
      continue;
    }
    if (log.length - at < RECORD_HEADER) return undefined;
    const length = log.readUInt16LE(at + 4);
    const end = at + RECORD_HEADER + length;
    if (RECORD_HEADER + length > left) return at;
    if (end > log.length) return undefined;
    if (unmask(log.readUInt32LE(at)) !== crc32c(log, at + 6, end)) return at;
    at = end;
  }
  return undefined;
}

/** LevelDB's table format (its doc/table_format.md): handles of the metaindex and the index, padding, this number. */
const FOOTER = 48;
const MAGIC = 0xdb4775248b80fb57n;
/** Behind each block: how it is compressed (1), masked CRC-32C of block and that byte (4, little endian). */
const TRAILER = 5;
const UNCOMPRESSED = 0;

/** Where a table's first damaged block begins, or undefined. The table must have been written without compression. */
export function findTableDamage(table: Buffer): number | undefined {
  const footer = table.length - FOOTER;
  if (footer < 0 || table.readBigUInt64LE(table.length - 8) !== MAGIC) return Math.max(0, footer);
  const reader = new Reader(table, footer, table.length - 8);
  const meta = reader.handle();
  const index = reader.handle();
  for (const list of [meta, index]) {
    if (!isSound(table, list)) return list.offset;
    for (const block of blocksIn(table, list)) if (!isSound(table, block)) return block.offset;
  }
  return undefined;
}

interface Handle {
  offset: number;
  size: number;
}

function isSound(table: Buffer, { offset, size }: Handle): boolean {
  const end = offset + size;
  if (end + TRAILER > table.length - FOOTER) return false;
  return (
    table[end] === UNCOMPRESSED && unmask(table.readUInt32LE(end + 1)) === crc32c(table, offset, end + 1)
  );
}

/** The blocks that a sound index block names: the values of its entries. */
function* blocksIn(table: Buffer, { offset, size }: Handle): Generator<Handle> {
  const restarts = table.readUInt32LE(offset + size - 4);
  const reader = new Reader(table, offset, offset + size - 4 * (restarts + 1));
  while (reader.hasMore) {
    reader.varint();
    const keyLength = reader.varint();
    reader.varint();
    reader.at += keyLength;
    yield reader.handle();
  }
}

class Reader {
  constructor(
    private readonly bytes: Buffer,
    public at: number,
    private readonly end: number,
  ) {}

  get hasMore(): boolean {
    return this.at < this.end;
  }

  /** Seven bits a byte, the lowest first. Beyond the end: zeros, which no sound block has there. */
  varint(): number {
    let value = 0;
    for (let scale = 1; this.at < this.end; scale *= 128) {
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
    }
    return value;
  }

  handle(): Handle {
    return { offset: this.varint(), size: this.varint() };
  }
}

function unmask(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

function crc32c(bytes: Buffer, from: number, to: number): number {
  let crc = 0xffffffff;
  for (let i = from; i < to; i++) crc = (crc >>> 8) ^ CRC32C_TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
