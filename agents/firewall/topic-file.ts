import { filterError, linesOf, type Mistake, trim } from "@topicast/protocol";

export const TOPIC_LIST_MAX = 100_000;

/**
 * A list of topic filters, one a line, as himqtt keeps them in black_topic.data and white_topic.data: a topic stands for
 * itself, + and # are MQTT's. Empty lines, and lines that begin with # and are no filter, say nothing.
 * @param file name for the mistakes, which are added to `mistakes`
 */
export function parseTopicList(text: string, file: string, mistakes: Mistake[]): string[] {
  const filters: string[] = [];
  for (const { line, number } of linesOf(text.replace(/^\uFEFF/, ""))) {
    const filter = trim(line);
    // `#` alone is the filter of all topics; anything else that begins so is no filter.
    if (filter === "" || (filter.startsWith("#") && filter !== "#")) continue;
    const error = filterError(filter);
    if (error !== undefined)
      mistakes.push({ file, line: number, message: `${JSON.stringify(filter)} ${error}` });
    else if (filters.length < TOPIC_LIST_MAX) filters.push(filter);
    else {
      mistakes.push({ file, line: number, message: `more than ${TOPIC_LIST_MAX} topics` });
      break;
    }
  }
  return filters;
}
