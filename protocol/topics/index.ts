export { type Added, FilterTrie, type FilterTrieOptions, type Removed } from "./filter-trie.js";
export { filterContains, filterIntersection, filterMatches, isReserved } from "./filters.js";
export { filterError, isShared, levelCount, MAX_NAME_BYTES, topicError, topicFilterOf } from "./names.js";
export { TopicTree } from "./topic-tree.js";
