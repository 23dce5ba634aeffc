export {
  type DocumentContent,
  type DocumentPlace,
  type DocumentProblem,
  formatProblem,
  type ReadDocument,
  readDocument,
} from './read-document.ts';
export { type FileWatch, type WatchOptions, watchFiles } from './watch-files.ts';
