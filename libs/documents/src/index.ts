export { formatProblem, type DocumentPlace, type DocumentProblem, type ReadDocument, readDocument } from './read-document.ts';
