export { type Added, FilterTrie, type FilterTrieOptions, type Removed } from "./filter-trie.js";
export { filterContains, filterIntersection, filterMatches, isReserved } from "./filters.js";
export { filterError, levelCount, MAX_NAME_BYTES, topicError } from "./names.js";
export { TopicTree } from "./topic-tree.js";
